rule comparison:
    message:
        "comparison: {wildcards.run}"
    input:
        code=code("compare.py", "comparison.py"),
        trajectories=of_run("trajectory"),
        sharpness=of_run("sharpness"),
        replays=lambda wildcards: of_run("twins")(wildcards) + of_run("iterates")(wildcards),
    output:
        RUN + "/comparison.nc",
    params:
        settings=run_settings,
    resources:
        **READING,
    log:
        RUN + "/logs/comparison.log",
    shell:
        "python {input.code[0]} --root {ROOT} --settings {params.settings:q}"
        " --trajectories {input.trajectories} --sharpness {input.sharpness} --replays {input.replays}"
        " --output {output} 2> {log}"


rule comparisons:
    input:
        of_all_runs("comparison"),
