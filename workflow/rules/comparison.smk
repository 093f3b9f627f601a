rule comparison:
    message:
        "comparison: {wildcards.optimizer}, {wildcards.model}, seed {wildcards.seed}"
    input:
        code=code("compare.py", "comparison.py"),
        trajectories=expand(RUN + "/{process}.nc", process=PROCESSES, allow_missing=True),
        sharpness=expand(RUN + "/sharpness/{process}.nc", process=PROCESSES, allow_missing=True),
    output:
        RUN + "/comparison.nc",
    params:
        settings=run_settings,
    log:
        RUN + "/logs/comparison.log",
    shell:
        "python {input.code[0]} --root {ROOT} --settings {params.settings:q}"
        " --trajectories {input.trajectories} --sharpness {input.sharpness} --output {output} 2> {log}"


rule comparisons:
    input:
        expand("{run}/comparison.nc", run=RUNS),
