# The decays of Adam with which updates are bounded: given gradients, and training on the experiment's data, of no run.


rule adam_region:
    message:
        "Adam: the region of bounded updates"
    input:
        script=str(SCRIPTS / "adam_region.py"),
        dataset=rules.dataset.output,
    params:
        code=digest("rodflow.stages.adam_region", OPTIMIZERS.module("adam"), MODELS.module("mlp")),
    output:
        ROOT + "/adam_region.nc",
    resources:
        **COMPUTING,
    log:
        ROOT + "/logs/adam_region.log",
    shell:
        "python {input.script} --root {ROOT} --dataset {input.dataset} --output {output} 2> {log}"
