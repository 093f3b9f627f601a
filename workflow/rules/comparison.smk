COMPARISON = (
    "python -P -m rodflow.cli stage comparison --root {params.root} --settings {params.settings:q}"
    " --trajectories {input.trajectories} --sharpness {input.sharpness} --replays {input.replays}"
    " --output {output} 2> {log}"
)


rule comparison:
    input:
        trajectories=EXPERIMENT.of_run("trajectory"),
        sharpness=EXPERIMENT.of_run("sharpness"),
        replays=EXPERIMENT.of_run("replicas", "iterates"),
    output:
        f"{RUN}/comparison.nc",
    log:
        f"{RUN}/logs/comparison.log",
    wildcard_constraints:
        run=EXPERIMENT.pattern(EXPERIMENT.alone),
    resources:
        **EXPERIMENT.reading(),
    params:
        root=EXPERIMENT.folder,
        code=EXPERIMENT.code("comparison"),
        settings=EXPERIMENT.settings_alone,
    message:
        "comparison: {wildcards.run}"
    shell:
        COMPARISON


for index, batch in enumerate(EXPERIMENT.batches):

    rule:
        name:
            f"comparison_batch_{index}"
        input:
            trajectories=EXPERIMENT.of_batch(batch, "{process}.nc"),
            sharpness=EXPERIMENT.of_batch(batch, "sharpness/{process}.nc"),
            replays=[],  # of a sweep's runs there are none
        output:
            EXPERIMENT.of_batch(batch, "comparison.nc"),
        log:
            f"{ROOT}/{batch[0].path}/logs/comparison.log",
        resources:
            **EXPERIMENT.reading(),
        params:
            root=EXPERIMENT.folder,
            code=EXPERIMENT.code_of("comparison", *batch),
            settings=EXPERIMENT.settings_of(*batch),
        message:
            f"comparison: {batch[0].path} and {len(batch) - 1} more"
        shell:
            COMPARISON


rule comparisons:
    input:
        EXPERIMENT.files("comparison"),
