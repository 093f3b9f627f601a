# The decays of Adam with which updates are bounded: given gradients, and training on the experiment's data, of no run.


rule adam_region:
    input:
        dataset=rules.dataset.output,
    output:
        f"{ROOT}/adam_region.nc",
    log:
        f"{ROOT}/logs/adam_region.log",
    resources:
        **EXPERIMENT.computing(),
    params:
        root=EXPERIMENT.folder,
        code=EXPERIMENT.code_of("adam_region"),
    message:
        "Adam: the region of bounded updates"
    shell:
        "python -P -m rodflow.cli stage adam-region --root {params.root} --dataset {input.dataset} --output {output} 2> {log}"
