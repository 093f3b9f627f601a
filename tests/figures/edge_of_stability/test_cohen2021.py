"""Panels of runs that differ in one thing each: what is written above them tells them apart and can be read."""

from pathlib import Path
from typing import Any

import pytest

from drawn import crowded, words
from rodflow.figures.core.style import Drawing
from rodflow.figures.edge_of_stability import cohen2021
from synthetic_results import START, make_run


@pytest.fixture(scope="module")
def drawing(tmp_path_factory: pytest.TempPathFactory) -> Drawing:
    """Two rows of panels: momentum, decayed weights, and gradient descent without and with the Taylor model."""
    root = tmp_path_factory.mktemp("cohen")

    def write(optimizer: str, folder: Path, **options: Any) -> Any:
        return make_run(folder, optimizer, **{"flows": (), "replays": {}} | options)

    momentum = {"hyperparameters": {"momentum": 0.9}}
    runs = [
        write("momentum_decay", root / f"{k}", learning_rate=0.3 + k, **momentum) for k in range(5)
    ]
    return cohen2021.draw(
        [*runs, write("gd", root / "gd"), write("gd", root / "taylor", flows=("taylor",))]
    )


def test_words_above_panels_do_not_overlap(drawing: Drawing) -> None:
    assert not crowded(drawing)


def test_a_run_with_a_model_says_where_it_is_expanded(drawing: Drawing) -> None:
    rates = "squared error, $\\eta$ 0.1"
    assert [word for word in words(drawing) if word.startswith(rates)] == [
        rates,
        f"{rates}, $t_0$ {START}",
    ]
