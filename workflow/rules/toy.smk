# What can be worked out by hand: two potentials in one dimension, of no run.


rule toy:
    output:
        f"{ROOT}/toy.nc",
    log:
        f"{ROOT}/logs/toy.log",
    resources:
        **EXPERIMENT.computing(),
    params:
        root=EXPERIMENT.folder,
        code=EXPERIMENT.code_of("toy"),
    message:
        "toy potentials"
    shell:
        "python -P -m rodflow.cli stage toy --root {params.root} --output {output} 2> {log}"
