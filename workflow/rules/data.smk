rule dataset:
    message:
        "data set {EXPERIMENT.dataset[name]}"
    input:
        code=code("dataset.py", "datasets.py"),
    output:
        ROOT + "/dataset.nc",
    params:
        settings=json.dumps(EXPERIMENT.dataset, sort_keys=True),
    localrule: True  # nodes of a cluster may have no network
    log:
        ROOT + "/logs/dataset.log",
    shell:
        "python {input.code[0]} --root {ROOT} --settings {params.settings:q} --output {output} 2> {log}"
