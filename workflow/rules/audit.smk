# What the stored files are worth: a manifest of all of them, figures included, then the audit, which trains nothing.
# `make audit` calls the same script without Snakemake, which would make an altered file again.

import os


def config_file():
    """The file that the experiment was read from, as seen from the working directory."""
    files = workflow.config_settings.configfiles or [Path(workflow.basedir) / "config.yaml"]
    return os.path.relpath(files[0])


rule manifest:
    message:
        "manifest of all artifacts and figures"
    input:
        rules.dataset.output,
        of_all_runs("trajectory", "sharpness", "replicas", "iterates", "onset_window", "comparison"),
        [f"{ROOT}/{path}" for figure in FIGURES for path in (*figure.sources, *figure.files)],
    output:
        ROOT + "/manifest.sha256",
    localrule: True  # moments
    log:
        ROOT + "/logs/manifest.log",
    shell:
        "python -c 'import sys; from rodflow.store.manifest import write_manifest; write_manifest(sys.argv[1])'"
        " {ROOT} 2> {log}"


rule audit:
    message:
        "audit: integrity, numbers computed again, claims"
    input:
        script=str(SCRIPTS / "audit.py"),
        manifest=rules.manifest.output,
    output:
        json=ROOT + "/audit.json",
        md=report(ROOT + "/audit.md", caption="../report/audit.rst", category="Audit"),
    params:
        code=digest("rodflow.audit.audit"),
        config=config_file(),
        overrides=json.dumps(dict(workflow.config_settings.config), sort_keys=True),
        runs=[run.digest for run in EXPERIMENT.all_runs],
    threads: 8
    resources:
        **job(4000, 60, gpu=0),
    log:
        ROOT + "/logs/audit.log",
    shell:
        "python {input.script} --root {ROOT} --config {params.config:q}"
        " --overrides {params.overrides:q} --output {output.json} 2> {log}"
