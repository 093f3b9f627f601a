rule flow:
    message:
        "{wildcards.flow} flow: {wildcards.run}"
    input:
        script=str(SCRIPTS / "flow.py"),
        dataset=rules.dataset.output,
        discrete=RUN + "/discrete.nc",
    output:
        RUN + "/{flow}.nc",
    params:
        code=code_of_run("rodflow.stages.flow"),
        settings=run_settings,
    resources:
        **COMPUTING,
    log:
        RUN + "/logs/{flow}.log",
    shell:
        "python {input.script} --root {ROOT} --settings {params.settings:q} --dataset {input.dataset}"
        " --discrete {input.discrete} --flow {wildcards.flow} --output {output} 2> {log}"


rule flows:
    input:
        of_all_runs("trajectory"),
