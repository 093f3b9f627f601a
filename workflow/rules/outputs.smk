# How far the flows are from the iterates in function space, where a figure needs it.


rule outputs:
    input:
        dataset=rules.dataset.output,
        trajectories=EXPERIMENT.of_run("trajectory"),
    output:
        f"{RUN}/outputs.nc",
    log:
        f"{RUN}/logs/outputs.log",
    wildcard_constraints:
        run=EXPERIMENT.with_outputs,
    resources:
        **EXPERIMENT.computing(),
    params:
        root=EXPERIMENT.folder,
        code=EXPERIMENT.code("outputs"),
        settings=EXPERIMENT.settings,
    message:
        "outputs: {wildcards.run}"
    shell:
        "python -P -m rodflow.cli stage outputs --root {params.root} --settings {params.settings:q}"
        " --dataset {input.dataset} --trajectories {input.trajectories} --output {output} 2> {log}"
