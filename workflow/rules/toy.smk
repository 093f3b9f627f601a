# What can be worked out by hand: two potentials in one dimension, of no run.


rule toy:
    message:
        "toy potentials"
    input:
        script=str(SCRIPTS / "toy.py"),
    params:
        code=digest("rodflow.stages.toy", OPTIMIZERS.module("gd"), OPTIMIZERS.module("heavy_ball")),
    output:
        ROOT + "/toy.nc",
    resources:
        **COMPUTING,
    log:
        ROOT + "/logs/toy.log",
    shell:
        "python {input.script} --root {ROOT} --output {output} 2> {log}"
