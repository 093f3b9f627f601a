"""The figure of one optimizer at one glance."""

from pathlib import Path

import numpy as np
import pytest
from matplotlib.colors import to_hex

from drawn import lines, panels, words
from rodflow.config import plan
from rodflow.config.settings import load, resolve
from rodflow.figures.core.style import INK
from rodflow.figures.rod_flow.hero import _WIDTH, draw
from synthetic_results import EVERY_FLOW, make_run

ROOT = Path(__file__).parents[3]
README = 880
"""Pixels that a README is wide."""


def planned(config: str) -> list[str]:
    experiment = resolve(load(ROOT / config), (ROOT / config).parent)
    (figure,) = (one for one in plan.figures(experiment) if one.name == "hero")
    return [run.path for run in figure.runs]


@pytest.mark.parametrize("config", ["config.yaml", "config/cifar10.yaml"])
def test_the_configs_ask_for_adam_on_their_first_model(config: str) -> None:
    assert planned(config) == ["mlp/adam/seed1"]


def test_without_adam_it_is_of_the_first_optimizer(tmp_path: Path) -> None:
    text = (ROOT / "config/smoke.yaml").read_text()
    kept = [line for line in text.splitlines() if not line.startswith("  adam:")]
    path = tmp_path / "config.yaml"
    path.write_text("\n".join(kept).replace("figures: [", "figures: [hero, "))
    experiment = resolve(load(path), tmp_path)
    assert [run.path for run in plan.figures(experiment)[0].runs] == ["mlp/gd/seed1"]


def test_the_threshold_is_dashed_and_named_by_its_formula(tmp_path: Path) -> None:
    run = make_run(tmp_path, "adam", learning_rate=0.005)
    drawing = draw([run])
    ((_, middle, _),) = panels(drawing)
    (dashed,) = (line for line in middle.lines if to_hex(line.get_color()) == INK)
    assert dashed.get_linestyle() == "--"
    np.testing.assert_allclose(dashed.get_ydata(), 38 / 0.005)
    named = [text.get_text() for text in middle.get_yticklabels()]
    assert middle.get_yticks()[named.index("38/η")] == pytest.approx(38 / 0.005)
    (curve,) = lines(middle, "rod")
    stored = run.sharpness("rod")["eigenvalue"].isel(eigenvalue_rank=0)
    np.testing.assert_array_equal(curve.get_ydata(), stored)


def test_only_the_three_flows_are_drawn_whatever_others_there_are(tmp_path: Path) -> None:
    drawing = draw([make_run(tmp_path, "adam", flows=EVERY_FLOW)])
    assert {*drawing.table["process"]} == {"discrete", "stable", "rod", "rod_unit_step"}
    assert len(drawing.figure.legends[0].get_texts()) == 4


def test_letters_are_twelve_pixels_high_at_the_width_of_a_readme(tmp_path: Path) -> None:
    drawing = draw([make_run(tmp_path, "adam")])
    assert drawing.figure.get_figwidth() == _WIDTH
    pixels = README / (_WIDTH * 72)
    (line,) = panels(drawing)
    (legend,) = drawing.figure.legends
    texts = [*legend.get_texts(), legend.get_title(), *(axes.xaxis.label for axes in line)]
    for axes in line:
        texts += [*axes.texts, axes.title, *axes.get_xticklabels(), *axes.get_yticklabels()]
    assert min(text.get_fontsize() for text in texts) * pixels >= 12


def test_the_title_names_run_and_data(tmp_path: Path) -> None:
    said = words(draw([make_run(tmp_path, "adam", learning_rate=0.005)]))
    assert any(word.startswith("Adam: MLP on digits, ") and "0.005" in word for word in said)


def test_the_caption_gives_the_numbers_of_the_run_without_a_median(tmp_path: Path) -> None:
    run = make_run(tmp_path, "adam")
    shows = draw([run]).shows
    last = float(run.comparison["tracking_error"].sel(process="stable")[-1])
    assert f"stable flow {last:.2g}" in shows and "median" not in shows
