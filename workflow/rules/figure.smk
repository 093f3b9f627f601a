# One rule a figure, so that a change of its module, or of what it imports, draws that figure only.

FIGURES = plan.figures(EXPERIMENT)


rule figures:
    input:
        [f"{ROOT}/{figure.stem}.png" for figure in FIGURES],


for figure in FIGURES:

    rule:
        name:
            f"figure_{figure.name}" + (f"_{figure.part}" if figure.part else "")
        message:
            f"figure {figure.stem.removeprefix('figures/')}"
        input:
            script=str(SCRIPTS / "figure.py"),
            files=[f"{ROOT}/{path}" for path in figure.sources],
        output:
            png=report(
                f"{ROOT}/{figure.stem}.png",
                caption=str(Path(ROOT, f"{figure.stem}.rst").absolute()),
                category="Figures",
                labels={"figure": figure.name} | ({"of": figure.part} if figure.part else {}),
            ),
            pdf=f"{ROOT}/{figure.stem}.pdf",
            csv=f"{ROOT}/{figure.stem}.csv",
            caption=f"{ROOT}/{figure.stem}.rst",
        params:
            code=digest(FIGURE_KINDS.module(figure.name)),
            figure=figure.name,
            part=figure.part,
            sources=[f"{ROOT}/{path}" for path in figure.drawn_from],
        resources:
            **READING,
        log:
            f"{ROOT}/logs/figure-{figure.stem.removeprefix('figures/')}.log",
        shell:
            "python {input.script} --root {ROOT} --figure {params.figure} --part '{params.part}' --sources {params.sources}"
            " --output {output.png} 2> {log}"
