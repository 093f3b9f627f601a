rule dataset:
    message:
        "data set {EXPERIMENT.dataset[name]}"
    input:
        script=str(SCRIPTS / "dataset.py"),
    output:
        ROOT + "/dataset.nc",
    params:
        code=digest("rodflow.problem.datasets"),
        settings=json.dumps(EXPERIMENT.dataset, sort_keys=True),
    localrule: True  # nodes of a cluster may have no network
    log:
        ROOT + "/logs/dataset.log",
    shell:
        "python {input.script} --root {ROOT} --settings {params.settings:q} --output {output} 2> {log}"
