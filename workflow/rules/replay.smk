# What is run again from the discrete run's stored states. Replicas and iterates in one job: they share a program.

for kinds in EXPERIMENT.choices_of_replays:

    rule:
        name:
            "_".join(["replay", *kinds])
        input:
            dataset=rules.dataset.output,
            discrete=f"{RUN}/discrete.nc",
            sharpness=f"{RUN}/sharpness/discrete.nc",
        output:
            [f"{RUN}/{kind}.nc" for kind in kinds],
        log:
            f"{RUN}/logs/replay.log",
        wildcard_constraints:
            run=EXPERIMENT.with_replays(kinds),
        resources:
            **EXPERIMENT.computing(),
        params:
            root=EXPERIMENT.folder,
            code=EXPERIMENT.code("replay", kinds),
            settings=EXPERIMENT.settings,
            restart=EXPERIMENT.restart,
            replicas=EXPERIMENT.experiment.replicas,
        message:
            ", ".join(kinds) + ": {wildcards.run}"
        shell:
            "python -P -m rodflow.cli stage replay --root {params.root} --settings {params.settings:q}"
            " --dataset {input.dataset} --discrete {input.discrete} --sharpness {input.sharpness}"
            " --restart {params.restart} --replicas {params.replicas} --output {output} 2> {log}"


rule replays:
    input:
        EXPERIMENT.files("replicas", "iterates", "onset_window"),
