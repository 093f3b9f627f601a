# Runs of a sweep that differ in hyperparameters and seed only share a job: they share what the program costs to compile.

TRAIN = (
    "python -P -m rodflow.cli stage train --root {params.root} --settings {params.settings:q} --dataset {input.dataset}"
    " --output {output} 2> {log}"
)


rule discrete:
    input:
        dataset=rules.dataset.output,
    output:
        f"{RUN}/discrete.nc",
    log:
        f"{RUN}/logs/discrete.log",
    wildcard_constraints:
        run=EXPERIMENT.pattern(EXPERIMENT.alone),
    resources:
        **EXPERIMENT.computing(),
    params:
        root=EXPERIMENT.folder,
        code=EXPERIMENT.code("train"),
        settings=EXPERIMENT.settings_alone,
    message:
        "discrete run: {wildcards.run}"
    shell:
        TRAIN


for index, batch in enumerate(EXPERIMENT.batches):

    rule:
        name:
            f"discrete_batch_{index}"
        input:
            dataset=rules.dataset.output,
        output:
            EXPERIMENT.of_batch(batch, "discrete.nc"),
        log:
            f"{ROOT}/{batch[0].path}/logs/discrete.log",
        resources:
            **EXPERIMENT.computing(),
        params:
            root=EXPERIMENT.folder,
            code=EXPERIMENT.code_of("train", *batch),
            settings=EXPERIMENT.settings_of(*batch),
        message:
            f"discrete runs: {batch[0].path} and {len(batch) - 1} more"
        shell:
            TRAIN


rule trajectories:
    input:
        [f"{ROOT}/{run.path}/discrete.nc" for run in EXPERIMENT.experiment.all_runs],
