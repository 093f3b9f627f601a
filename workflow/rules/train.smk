# Runs of a sweep that differ in hyperparameters and seed only share a job: they share what the program costs to compile.

BATCHES = plan.batches(EXPERIMENT)
IN_BATCHES = {run for batch in BATCHES for run in batch}
ALONE = [run for run in EXPERIMENT.all_runs if run not in IN_BATCHES]


def settings_of(runs):
    """The resolved settings of some runs as JSON."""
    return json.dumps([run.settings for run in runs], sort_keys=True)


TRAIN = (
    "python {input.script} --root {ROOT} --settings {params.settings:q} --dataset {input.dataset}"
    " --output {output} 2> {log}"
)


rule discrete:
    message:
        "discrete run: {wildcards.run}"
    input:
        script=str(SCRIPTS / "train.py"),
        dataset=rules.dataset.output,
    output:
        RUN + "/discrete.nc",
    wildcard_constraints:
        run=any_of(ALONE),
    params:
        code=code_of_run("rodflow.stages.training"),
        settings=lambda wildcards: settings_of([EXPERIMENT.run(wildcards.run)]),
    resources:
        **COMPUTING,
    log:
        RUN + "/logs/discrete.log",
    shell:
        TRAIN


for index, batch in enumerate(BATCHES):

    rule:
        name:
            f"discrete_batch_{index}"
        message:
            f"discrete runs: {batch[0].path} and {len(batch) - 1} more"
        input:
            script=str(SCRIPTS / "train.py"),
            dataset=rules.dataset.output,
        output:
            [f"{ROOT}/{run.path}/discrete.nc" for run in batch],
        params:
            code=code_of("rodflow.stages.training", *batch),
            settings=settings_of(batch),
        resources:
            **COMPUTING,
        log:
            f"{ROOT}/{batch[0].path}/logs/discrete.log",
        shell:
            TRAIN


rule trajectories:
    input:
        [f"{ROOT}/{run.path}/discrete.nc" for run in EXPERIMENT.all_runs],
