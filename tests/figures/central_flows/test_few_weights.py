"""Losses of a few weights: every panel against the steps marks the start and the onset, and the first names them."""

from pathlib import Path

import pytest

from drawn import crowded, words
from rodflow.figures.central_flows import few_weights
from synthetic_results import START, make_run


@pytest.mark.slow
def test_start_and_onset_are_marked_in_each_column_and_named_in_its_first_panel(
    tmp_path: Path,
) -> None:
    runs = [make_run(tmp_path, "gd", model, replays={}) for model in ("2d", "3d")]
    drawing = few_weights.draw(runs)
    assert not crowded(drawing)
    for run, column in zip(runs, (drawing.figure.axes[:5], drawing.figure.axes[5:]), strict=True):
        onset = float(run.comparison["onset"].sel(process="discrete"))
        for axes in column[:-1]:
            upright = [line for line in axes.lines if line.get_transform() != axes.transData]
            assert {START, onset} <= {line.get_xdata()[0] for line in upright}
    assert words(drawing).count("onset") == words(drawing).count("$t_0$") == len(runs)
