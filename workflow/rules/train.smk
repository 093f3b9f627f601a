rule discrete:
    message:
        "discrete run: {wildcards.run}"
    input:
        code=code("train.py", *MAP_CODE, "dynamics/discrete.py"),
        dataset=rules.dataset.output,
    output:
        RUN + "/discrete.nc",
    params:
        settings=run_settings,
    log:
        RUN + "/logs/discrete.log",
    shell:
        "python {input.code[0]} --root {ROOT} --settings {params.settings:q} --dataset {input.dataset}"
        " --output {output} 2> {log}"


rule trajectories:
    input:
        [f"{ROOT}/{run.path}/discrete.nc" for run in EXPERIMENT.all_runs],
