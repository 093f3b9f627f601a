# All processes of a run in one job: they share the compiled eigensolver, whose start costs as much as its work.


rule sharpness:
    message:
        "sharpness: {wildcards.optimizer}, {wildcards.model}, seed {wildcards.seed}"
    input:
        code=code("sharpness.py", "curvature.py"),
        dataset=rules.dataset.output,
        trajectories=expand(RUN + "/{process}.nc", process=PROCESSES, allow_missing=True),
    output:
        expand(RUN + "/sharpness/{process}.nc", process=PROCESSES, allow_missing=True),
    params:
        settings=run_settings,
        sharpness=json.dumps(EXPERIMENT.sharpness, sort_keys=True),
    log:
        RUN + "/logs/sharpness.log",
    benchmark:
        RUN + "/logs/sharpness.tsv"
    shell:
        "python {input.code[0]} --root {ROOT} --settings {params.settings:q} --dataset {input.dataset}"
        " --trajectories {input.trajectories} --sharpness {params.sharpness:q} --output {output} 2> {log}"


rule all_sharpness:
    input:
        expand("{run}/sharpness/{process}.nc", run=RUNS, process=PROCESSES),
