# All processes of a run, or of a batch of runs, in one job: they share the compiled eigensolver, whose start costs as
# much as its work, and what the flows' eigenvectors are searched from.

SHARPNESS = (
    "python -P -m rodflow.cli stage sharpness --root {params.root} --settings {params.settings:q} --dataset {input.dataset}"
    " --trajectories {input.trajectories} --sharpness {params.sharpness:q} --output {output} 2> {log}"
)


# One rule for each choice of flows, which decides the outputs.
for index, processes in enumerate(EXPERIMENT.choices_of_flows):

    rule:
        name:
            f"sharpness_{index}" if index else "sharpness"
        input:
            dataset=rules.dataset.output,
            trajectories=[f"{RUN}/{process}.nc" for process in processes],
        output:
            [f"{RUN}/sharpness/{process}.nc" for process in processes],
        log:
            f"{RUN}/logs/sharpness.log",
        wildcard_constraints:
            run=EXPERIMENT.with_processes(processes),
        resources:
            **EXPERIMENT.computing(),
        params:
            root=EXPERIMENT.folder,
            code=EXPERIMENT.code("sharpness"),
            settings=EXPERIMENT.settings_alone,
            sharpness=json.dumps(EXPERIMENT.experiment.sharpness, sort_keys=True),
        message:
            "sharpness: {wildcards.run}"
        shell:
            SHARPNESS


for index, batch in enumerate(EXPERIMENT.batches):

    rule:
        name:
            f"sharpness_batch_{index}"
        input:
            dataset=rules.dataset.output,
            trajectories=EXPERIMENT.of_batch(batch, "{process}.nc"),
        output:
            EXPERIMENT.of_batch(batch, "sharpness/{process}.nc"),
        log:
            f"{ROOT}/{batch[0].path}/logs/sharpness.log",
        resources:
            **EXPERIMENT.computing(),
        params:
            root=EXPERIMENT.folder,
            code=EXPERIMENT.code_of("sharpness", *batch),
            settings=EXPERIMENT.settings_of(*batch),
            sharpness=json.dumps(EXPERIMENT.experiment.sharpness, sort_keys=True),
        message:
            f"sharpness: {batch[0].path} and {len(batch) - 1} more"
        shell:
            SHARPNESS


rule all_sharpness:
    input:
        EXPERIMENT.files("sharpness"),
