# One rule a figure, so that a change of its module, or of what it imports, draws that figure only.


rule figures:
    input:
        [f"{ROOT}/{figure.stem}.png" for figure in EXPERIMENT.figures],


for figure in EXPERIMENT.figures:

    rule:
        name:
            f"figure_{figure.name}" + (f"_{figure.part}" if figure.part else "")
        input:
            [f"{ROOT}/{path}" for path in figure.sources],
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
        log:
            f"{ROOT}/logs/figure-{figure.stem.removeprefix('figures/')}.log",
        resources:
            **EXPERIMENT.reading(),
        params:
            root=EXPERIMENT.folder,
            code=EXPERIMENT.code_of("figure", figure=figure.name),
            figure=figure.name,
            part=figure.part,
            sources=[f"{ROOT}/{path}" for path in figure.drawn_from],
        message:
            f"figure {figure.stem.removeprefix('figures/')}"
        shell:
            "python -P -m rodflow.cli stage figure --root {params.root} --figure {params.figure} --part '{params.part}' --sources {params.sources}"
            " --output {output.png} 2> {log}"
