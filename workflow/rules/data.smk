rule dataset:
    output:
        f"{ROOT}/dataset.nc",
    log:
        f"{ROOT}/logs/dataset.log",
    localrule: True  # nodes of a cluster may have no network
    params:
        root=EXPERIMENT.folder,
        code=EXPERIMENT.dataset_code,
        settings=json.dumps(EXPERIMENT.experiment.dataset, sort_keys=True),
    message:
        "data set {EXPERIMENT.experiment.dataset[name]}"
    shell:
        "python -P -m rodflow.cli stage dataset --root {params.root} --settings {params.settings:q} --output {output} 2> {log}"
