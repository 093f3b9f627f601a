# All processes of a run, or of a batch of runs, in one job: they share the compiled eigensolver, whose start costs as
# much as its work, and what the flows' eigenvectors are searched from.

SHARPNESS = (
    "python {input.script} --root {ROOT} --settings {params.settings:q} --dataset {input.dataset}"
    " --trajectories {input.trajectories} --sharpness {params.sharpness:q} --output {output} 2> {log}"
)


# One rule for each choice of flows, which decides the outputs.
for index, processes in enumerate(dict.fromkeys(run.processes for run in ALONE)):

    rule:
        name:
            f"sharpness_{index}" if index else "sharpness"
        message:
            "sharpness: {wildcards.run}"
        input:
            script=str(SCRIPTS / "sharpness.py"),
            dataset=rules.dataset.output,
            trajectories=expand(RUN + "/{process}.nc", process=processes, allow_missing=True),
        output:
            expand(RUN + "/sharpness/{process}.nc", process=processes, allow_missing=True),
        wildcard_constraints:
            run=any_of(run for run in ALONE if run.processes == processes),
        params:
            code=code_of_run("rodflow.stages.sharpness"),
            settings=lambda wildcards: settings_of([EXPERIMENT.run(wildcards.run)]),
            sharpness=json.dumps(EXPERIMENT.sharpness, sort_keys=True),
        resources:
            **COMPUTING,
        log:
            RUN + "/logs/sharpness.log",
        shell:
            SHARPNESS


for index, batch in enumerate(BATCHES):

    rule:
        name:
            f"sharpness_batch_{index}"
        message:
            f"sharpness: {batch[0].path} and {len(batch) - 1} more"
        input:
            script=str(SCRIPTS / "sharpness.py"),
            dataset=rules.dataset.output,
            trajectories=[f"{ROOT}/{run.path}/{process}.nc" for run in batch for process in run.processes],
        output:
            [f"{ROOT}/{run.path}/sharpness/{process}.nc" for run in batch for process in run.processes],
        params:
            code=code_of("rodflow.stages.sharpness", *batch),
            settings=settings_of(batch),
            sharpness=json.dumps(EXPERIMENT.sharpness, sort_keys=True),
        resources:
            **COMPUTING,
        log:
            f"{ROOT}/{batch[0].path}/logs/sharpness.log",
        shell:
            SHARPNESS


rule all_sharpness:
    input:
        of_all_runs("sharpness"),
