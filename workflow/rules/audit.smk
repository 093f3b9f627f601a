# What the stored files are worth: a manifest of all of them, figures included, then the audit, which trains nothing.
# `make audit` calls the same command without Snakemake, which would make a file that is missing again.


rule manifest:
    input:
        rules.dataset.output,
        EXPERIMENT.files("trajectory", "sharpness", "replicas", "iterates", "onset_window", "outputs", "comparison"),
        [f"{ROOT}/{path}" for figure in EXPERIMENT.figures for path in (*figure.sources, *figure.files)],
    output:
        update(f"{ROOT}/manifest.sha256"),
    log:
        f"{ROOT}/logs/manifest.log",
    localrule: True  # moments
    params:
        root=EXPERIMENT.folder,
    message:
        "manifest of all artifacts and figures"
    shell:
        "python -P -m rodflow.cli stage manifest --root {params.root} --output {output} 2> {log}"


rule audit:
    input:
        manifest=rules.manifest.output,
    output:
        json=f"{ROOT}/audit.json",
        md=f"{ROOT}/audit.md",
        html=report(f"{ROOT}/audit.html", caption="../report/audit.rst", category="Audit"),
    log:
        f"{ROOT}/logs/audit.log",
    threads: 8
    resources:
        **EXPERIMENT.auditing(),
    params:
        root=EXPERIMENT.folder,
        code=EXPERIMENT.code_of("audit"),
        config=EXPERIMENT.config_file,
        overrides=json.dumps(EXPERIMENT.overrides, sort_keys=True),
        runs=[run.digest for run in EXPERIMENT.experiment.all_runs],
    message:
        "audit: integrity, numbers computed again, claims"
    shell:
        "python -P -m rodflow.cli audit --root {params.root} --config {params.config:q}"
        " --overrides {params.overrides:q} --output {output.json} 2> {log}"


rule experiment:
    output:
        report(f"{ROOT}/experiment.txt", caption="../report/experiment.rst", category="Experiment"),
    log:
        f"{ROOT}/logs/experiment.log",
    localrule: True  # moments
    params:
        config=EXPERIMENT.config_file,
        overrides=json.dumps(EXPERIMENT.overrides, sort_keys=True),
        runs=[run.digest for run in EXPERIMENT.experiment.all_runs],
    message:
        "experiment: all settings"
    shell:
        "python -P -m rodflow.cli check {params.config:q} --overrides {params.overrides:q} > {output} 2> {log}"
