# One rule a figure, so that a change of its module draws that figure only. What it shares with others,
# such as the style, is found from the imports of the module: a list by hand would be forgotten.

from rodflow.figures.sources import modules

FIGURES = layout.figures(EXPERIMENT)


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
            code=code("figure.py", *(f"figures/{name}.py" for name in modules(figure.name))),
            files=[f"{ROOT}/{path}" for path in figure.sources],
        output:
            png=report(
                f"{ROOT}/{figure.stem}.png",
                caption=f"../report/{figure.name}.rst",
                category="Figures",
                labels={"figure": figure.name} | ({"of": figure.part} if figure.part else {}),
            ),
            pdf=f"{ROOT}/{figure.stem}.pdf",
            csv=f"{ROOT}/{figure.stem}.csv",
        params:
            figure=figure.name,
            part=figure.part,
            sources=[f"{ROOT}/{path}" for path in figure.drawn_from],
        resources:
            **READING,
        log:
            f"{ROOT}/logs/figure-{figure.stem.removeprefix('figures/')}.log",
        shell:
            "python {input.code[0]} --root {ROOT} --figure {params.figure} --sources {params.sources}"
            " --output {output.png} 2> {log}"
