# What is run again from the discrete run's stored states. Twins and iterates in one job: they share a program.

REPLAY_CODE = [*MAP_CODE, *FLOW_CODE["rod_unit_step"], "dynamics/discrete.py", "dynamics/iterates.py", "replay.py", "comparison.py"]

for kinds in dict.fromkeys(layout.replays(run, EXPERIMENT) for run in EXPERIMENT.runs):
    if kinds:

        rule:
            name:
                "_".join(["replay", *kinds])
            message:
                ", ".join(kinds) + ": {wildcards.run}"
            input:
                code=code("replay.py", *REPLAY_CODE),
                dataset=rules.dataset.output,
                discrete=RUN + "/discrete.nc",
                sharpness=RUN + "/sharpness/discrete.nc",
            output:
                [RUN + f"/{kind}.nc" for kind in kinds],
            wildcard_constraints:
                run=any_of(run for run in EXPERIMENT.runs if layout.replays(run, EXPERIMENT) == kinds),
            params:
                settings=run_settings,
                restart=lambda wildcards: json.dumps(EXPERIMENT.run(wildcards.run).restart),
            resources:
                **COMPUTING,
            log:
                RUN + "/logs/replay.log",
            shell:
                "python {input.code[0]} --root {ROOT} --settings {params.settings:q} --dataset {input.dataset}"
                " --discrete {input.discrete} --sharpness {input.sharpness} --restart {params.restart}"
                " --twins {EXPERIMENT.twins} --output {output} 2> {log}"


rule replays:
    input:
        of_all_runs("twins", "iterates", "closeup"),
