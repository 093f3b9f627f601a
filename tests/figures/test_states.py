"""Whatever became of a run, its figures are drawn and its claims are judged."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from drawn import words
from representatives import now
from rodflow.audit.claims.catalogue import CLAIMS
from rodflow.audit.claims.claim import judge
from rodflow.config.catalogue import FIGURES
from rodflow.figures.core.style import Drawing
from rodflow.store.results import StoredRun
from synthetic_results import STATES, make_state

NAMES = [name for name in FIGURES if not FIGURES[name].of_no_run]
OPTIMIZERS = ("gd", "adam", "adamw")
Runs = Callable[[str, str, str], StoredRun]
FROM_FILES = ("rod_anatomy", "variances")
"""The figures that read a run's files a snapshot at a time, or let go of weights, which one in memory has once."""


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Runs:
    """The run of some optimizer in some state that a figure is drawn of, made once."""
    root, made = tmp_path_factory.mktemp("states"), dict[tuple[str, str, bool], StoredRun]()

    def get(name: str, optimizer: str, state: str) -> StoredRun:
        stored = name in FROM_FILES
        if (which := (optimizer, state, stored)) not in made:
            seed = [*STATES].index(state)
            made[which] = make_state(root, state, optimizer, seed=seed, store=stored)
        return made[which]

    return get


def possible(name: str, runs: list[StoredRun]) -> list[StoredRun]:
    """Those that the catalogue would give a figure."""
    return [run for run in runs if NEEDED.get(name, lambda run: True)(run)]


NEEDED: dict[str, Callable[[StoredRun], bool]] = {
    "closures": lambda run: "closure" in run.processes,
    "models_compared": lambda run: "central" in run.processes,
    "eos_flow_comparison": lambda run: run.optimizer == "gd" and "stable" in run.processes,
    "eos_gd": lambda run: run.optimizer == "gd",
    "adam_continuous": lambda run: "adam_continuous" in run.processes,
}


def assert_drawn_in_full(drawing: Drawing) -> None:
    """Check that a figure says something, and that no axis has ticks without end, which take time without end."""
    drawing.figure.draw_without_rendering()
    assert words(drawing)
    for axes in drawing.figure.axes:
        assert len(axes.get_xticks()) + len(axes.get_yticks()) < 100


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_a_figure_of_runs_in_all_states_is_drawn(name: str, runs: Runs) -> None:
    chosen = possible(name, [runs(name, "gd", state) for state in STATES])
    assert_drawn_in_full(FIGURES.load(name).draw(chosen))


THIRD = [
    (name, state)
    for shift, name in enumerate(NAMES)
    for state in [*STATES][shift % len(OPTIMIZERS) :: len(OPTIMIZERS)]
]
"""A third of all pairs, which are hundreds of pictures. States of a kind are neighbours (a run that diverged, flows
that did, numbers that are missing), so that each figure has some of each kind; the test before gives it all at once."""


@pytest.mark.slow
@pytest.mark.parametrize(("name", "state"), THIRD)
def test_a_figure_of_one_run_in_any_state_is_drawn(name: str, state: str, runs: Runs) -> None:
    """The optimizers take turns."""
    turn = [*STATES].index(state) // len(OPTIMIZERS) + NAMES.index(name)
    optimizer = OPTIMIZERS[turn % len(OPTIMIZERS)]
    for run in possible(name, [runs(name, optimizer, state)]):
        assert_drawn_in_full(FIGURES.load(name).draw([run]))


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_a_figure_writes_no_number_that_is_none(name: str, runs: Runs) -> None:
    """Of an optimizer without a linear threshold it says so, or leaves it out."""
    for optimizer in OPTIMIZERS:
        for run in possible(name, [runs(name, optimizer, "no threshold")]):
            drawing = FIGURES.load(name).draw([run])
            assert not [word for word in words(drawing) if re.search(r"\bnan\b", word)]


@pytest.mark.parametrize("optimizer", now(OPTIMIZERS, "gd"))
@pytest.mark.parametrize("state", now(STATES, *[*STATES][::4]))
def test_claims_are_judged_of_a_run_in_any_state(
    state: str, optimizer: str, tmp_path: Path
) -> None:
    run = make_state(tmp_path, state, optimizer, seed=[*STATES].index(state))
    judged = judge([run], CLAIMS, drawn={name: [run] for name in NAMES})
    assert len(judged) == sum(not claim.artifact for claim in CLAIMS)
    notes = [finding.note for judgement in judged for finding in judgement.findings]
    assert not [note for note in notes if note.startswith(("No variable", "not all values", "'"))]
