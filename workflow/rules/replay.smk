# What is run again from the discrete run's stored states. Replicas and iterates in one job: they share a program.

for kinds in dict.fromkeys(plan.replays(run, EXPERIMENT) for run in EXPERIMENT.runs):
    if kinds:

        rule:
            name:
                "_".join(["replay", *kinds])
            message:
                ", ".join(kinds) + ": {wildcards.run}"
            input:
                script=str(SCRIPTS / "replay.py"),
                dataset=rules.dataset.output,
                discrete=RUN + "/discrete.nc",
                sharpness=RUN + "/sharpness/discrete.nc",
            output:
                [RUN + f"/{kind}.nc" for kind in kinds],
            wildcard_constraints:
                run=any_of(run for run in EXPERIMENT.runs if plan.replays(run, EXPERIMENT) == kinds),
            params:
                code=code_of_run("rodflow.stages.replicas", others=["rodflow.stages.iterates", "rodflow.stages.onset_window"]),
                settings=run_settings,
                restart=lambda wildcards: json.dumps(EXPERIMENT.run(wildcards.run).restart),
            resources:
                **COMPUTING,
            log:
                RUN + "/logs/replay.log",
            shell:
                "python {input.script} --root {ROOT} --settings {params.settings:q} --dataset {input.dataset}"
                " --discrete {input.discrete} --sharpness {input.sharpness} --restart {params.restart}"
                " --replicas {EXPERIMENT.replicas} --output {output} 2> {log}"


rule replays:
    input:
        of_all_runs("replicas", "iterates", "onset_window"),
