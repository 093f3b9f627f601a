rule flow:
    message:
        "{wildcards.flow} flow: {wildcards.run}"
    input:
        code=lambda wildcards: code("flow.py", *MAP_CODE, *FLOW_CODE[wildcards.flow]),
        dataset=rules.dataset.output,
        discrete=RUN + "/discrete.nc",
    output:
        RUN + "/{flow}.nc",
    params:
        settings=run_settings,
    resources:
        **COMPUTING,
    log:
        RUN + "/logs/{flow}.log",
    shell:
        "python {input.code[0]} --root {ROOT} --settings {params.settings:q} --dataset {input.dataset}"
        " --discrete {input.discrete} --flow {wildcards.flow} --output {output} 2> {log}"


rule flows:
    input:
        of_all_runs("trajectory"),
