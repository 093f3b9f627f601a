"""The figures: stored runs in, a matplotlib figure and the table of what it draws out.

A figure is a module of one of the folders here, with a declaration of what it is drawn from and a function
`draw(runs) -> Drawing`:

    drawing = FIGURES.load("thresholds").draw(stored_runs("results/digits"))
    save(drawing, "results/digits/figures/thresholds")

with `FIGURES` of `rodflow.config.catalogue` and `save` of `rodflow.figures.core.style`. The declaration holds the
caption too.
"""
