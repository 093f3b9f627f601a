rule sharpness:
    message:
        "sharpness of {wildcards.process}: {wildcards.optimizer}, {wildcards.model}, seed {wildcards.seed}"
    input:
        code=code("sharpness.py", "curvature.py"),
        dataset=rules.dataset.output,
        trajectory=RUN + "/{process}.nc",
    output:
        RUN + "/sharpness/{process}.nc",
    params:
        settings=run_settings,
        sharpness=json.dumps(EXPERIMENT.sharpness, sort_keys=True),
    log:
        RUN + "/logs/sharpness-{process}.log",
    benchmark:
        RUN + "/logs/sharpness-{process}.tsv"
    shell:
        "python {input.code[0]} --root {ROOT} --settings {params.settings:q} --dataset {input.dataset}"
        " --trajectory {input.trajectory} --sharpness {params.sharpness:q} --output {output} 2> {log}"


rule all_sharpness:
    input:
        expand("{run}/sharpness/{process}.nc", run=RUNS, process=PROCESSES),
