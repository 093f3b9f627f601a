# One rule a figure, so that a change of its module draws that figure only.


def stored(kind, model=None):
    """The files of one kind, of all runs or of one model's."""
    runs = [run for run in EXPERIMENT.runs if run.model == (model or run.model)]
    names = {
        "comparison": ["comparison"],
        "trajectories": PROCESSES,
        "sharpness": [f"sharpness/{process}" for process in PROCESSES],
    }
    return [f"{ROOT}/{run.path}/{name}.nc" for run in runs for name in names[kind]]


def figure_stems(name):
    """A figure drawn per model has the model in its name."""
    if not catalogue.FIGURES[name].per_model:
        return [f"{ROOT}/figures/{name}"]
    return [f"{ROOT}/figures/{name}_{model}" for model in dict.fromkeys(run.model for run in EXPERIMENT.runs)]


rule figures:
    input:
        [f"{stem}.png" for name in EXPERIMENT.figures for stem in figure_stems(name)],


for name in EXPERIMENT.figures:
    per_model = catalogue.FIGURES[name].per_model
    stem = f"{ROOT}/figures/{name}" + ("_{model}" if per_model else "")

    rule:
        name:
            f"figure_{name}"
        message:
            f"figure {name}"
        input:
            code=code("figure.py", f"figures/{name}.py", "figures/style.py"),
            files=lambda wildcards, name=name: [
                file
                for kind in catalogue.FIGURES[name].needs
                for file in stored(kind, getattr(wildcards, "model", None))
            ],
        output:
            png=report(
                f"{stem}.png",
                caption=f"../report/{name}.rst",
                category="Figures",
                labels={"figure": name} | ({"model": "{model}"} if per_model else {}),
            ),
            pdf=f"{stem}.pdf",
            csv=f"{stem}.csv",
        params:
            figure=name,
            runs=lambda wildcards: [
                f"{ROOT}/{run.path}"
                for run in EXPERIMENT.runs
                if run.model == getattr(wildcards, "model", run.model)
            ],
        log:
            f"{ROOT}/logs/figure-{name}" + ("-{model}" if per_model else "") + ".log",
        shell:
            "python {input.code[0]} --root {ROOT} --figure {params.figure} --runs {params.runs}"
            " --output {output.png} 2> {log}"
