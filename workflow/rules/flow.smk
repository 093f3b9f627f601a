rule flow:
    input:
        dataset=rules.dataset.output,
        discrete=f"{RUN}/discrete.nc",
    output:
        f"{RUN}/{{flow}}.nc",
    log:
        f"{RUN}/logs/{{flow}}.log",
    resources:
        **EXPERIMENT.computing(),
    params:
        root=EXPERIMENT.folder,
        code=EXPERIMENT.code("flow"),
        settings=EXPERIMENT.settings,
    message:
        "{wildcards.flow} flow: {wildcards.run}"
    shell:
        "python -P -m rodflow.cli stage flow --root {params.root} --settings {params.settings:q} --dataset {input.dataset}"
        " --discrete {input.discrete} --flow {wildcards.flow} --output {output} 2> {log}"


rule flows:
    input:
        EXPERIMENT.files("trajectory"),
