COMPARISON = (
    "python {input.script} --root {ROOT} --settings {params.settings:q}"
    " --trajectories {input.trajectories} --sharpness {input.sharpness} --replays {input.replays}"
    " --output {output} 2> {log}"
)


rule comparison:
    message:
        "comparison: {wildcards.run}"
    input:
        script=str(SCRIPTS / "compare.py"),
        trajectories=of_run("trajectory"),
        sharpness=of_run("sharpness"),
        replays=lambda wildcards: of_run("replicas")(wildcards) + of_run("iterates")(wildcards),
    output:
        RUN + "/comparison.nc",
    wildcard_constraints:
        run=any_of(ALONE),
    params:
        code=digest("rodflow.analysis.comparison"),
        settings=lambda wildcards: settings_of([EXPERIMENT.run(wildcards.run)]),
    resources:
        **READING,
    log:
        RUN + "/logs/comparison.log",
    shell:
        COMPARISON


for index, batch in enumerate(BATCHES):

    rule:
        name:
            f"comparison_batch_{index}"
        message:
            f"comparison: {batch[0].path} and {len(batch) - 1} more"
        input:
            script=str(SCRIPTS / "compare.py"),
            trajectories=[f"{ROOT}/{run.path}/{process}.nc" for run in batch for process in run.processes],
            sharpness=[f"{ROOT}/{run.path}/sharpness/{process}.nc" for run in batch for process in run.processes],
            replays=[],  # of a sweep's runs there are none
        output:
            [f"{ROOT}/{run.path}/comparison.nc" for run in batch],
        params:
            code=digest("rodflow.analysis.comparison"),
            settings=settings_of(batch),
        resources:
            **READING,
        log:
            f"{ROOT}/{batch[0].path}/logs/comparison.log",
        shell:
            COMPARISON


rule comparisons:
    input:
        of_all_runs("comparison"),
