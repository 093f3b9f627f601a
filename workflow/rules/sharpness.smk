# All processes of a run in one job: they share the compiled eigensolver, whose start costs as much as its work, and
# what the flows' eigenvectors are searched from. One rule for each choice of flows, which decides the outputs.

for index, processes in enumerate(dict.fromkeys(run.processes for run in EXPERIMENT.all_runs)):

    rule:
        name:
            f"sharpness_{index}" if index else "sharpness"
        message:
            "sharpness: {wildcards.run}"
        input:
            code=code("sharpness.py", "stages.py", "sharpness.py", "curvature.py", "eigensolver.py"),
            dataset=rules.dataset.output,
            trajectories=expand(RUN + "/{process}.nc", process=processes, allow_missing=True),
        output:
            expand(RUN + "/sharpness/{process}.nc", process=processes, allow_missing=True),
        wildcard_constraints:
            run=any_of(run for run in EXPERIMENT.all_runs if run.processes == processes),
        params:
            settings=run_settings,
            sharpness=json.dumps(EXPERIMENT.sharpness, sort_keys=True),
        log:
            RUN + "/logs/sharpness.log",
        shell:
            "python {input.code[0]} --root {ROOT} --settings {params.settings:q} --dataset {input.dataset}"
            " --trajectories {input.trajectories} --sharpness {params.sharpness:q} --output {output} 2> {log}"


rule all_sharpness:
    input:
        of_all_runs("sharpness"),
