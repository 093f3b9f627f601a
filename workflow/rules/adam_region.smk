# The decays of Adam with which updates are bounded: given gradients, and training on the experiment's data, of no run.


rule adam_region:
    message:
        "Adam: the region of bounded updates"
    input:
        code=code(
            "adam_region.py",
            "adam_bound.py",
            *(module for module in MAP_CODE if module not in ("stages.py", "stability.py")),
            *(f"dynamics/{name}.py" for name in ("discrete", "lifted", "side_by_side", "training")),
        ),
        dataset=rules.dataset.output,
    output:
        ROOT + "/adam_region.nc",
    resources:
        **COMPUTING,
    log:
        ROOT + "/logs/adam_region.log",
    shell:
        "python {input.code[0]} --root {ROOT} --dataset {input.dataset} --output {output} 2> {log}"
