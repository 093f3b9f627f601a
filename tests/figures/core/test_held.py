"""What figures say a run holds at the edge: the window and the numbers of the claims, and when there are none."""

from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from rodflow.audit.claims.claim import NotAtEdge
from rodflow.audit.claims.measures import edge_of, equilibrium
from rodflow.figures.core.held import held, held_at_edge, not_at_edge_key
from rodflow.store.results import StoredRun
from synthetic_results import always_open, make_run


def never(numbers: xr.Dataset) -> xr.Dataset:
    return numbers.assign(onset=numbers["onset"] * np.nan)


@pytest.fixture
def run(tmp_path: Path) -> StoredRun:
    return make_run(tmp_path, flows=(), replays={}, change=always_open)


def test_window_and_numbers_are_those_by_which_claims_judge(run: StoredRun) -> None:
    found, judged = held_at_edge(run), equilibrium(run)
    assert found and found.window == edge_of(run)
    expected = {"mean": judged.value, "low": judged.low, "high": judged.high}
    assert found.numbers == {f"{name}_at_edge": value for name, value in expected.items()}
    assert not not_at_edge_key([run])


def test_a_later_beginning_cuts_the_window(run: StoredRun) -> None:
    found, whole = held(run, since=150), held(run, since=0)
    assert found and whole and whole == held(run)
    assert (found.window.first, found.window.last) == (150, whole.window.last)
    assert found.ratio.size < whole.ratio.size


def test_a_run_whose_rod_is_closed_has_numbers_that_are_not_of_the_edge(tmp_path: Path) -> None:
    closed = make_run(tmp_path, flows=(), replays={})
    with pytest.raises(NotAtEdge):
        edge_of(closed)
    found = held(closed)
    assert found and [*found.numbers] == ["mean_not_at_edge", "low_not_at_edge", "high_not_at_edge"]
    assert held_at_edge(closed) is None
    assert [mark.get_label() for mark in not_at_edge_key([closed])] == [
        "rod closed: not at the edge"
    ]


@pytest.mark.parametrize("options", [{"compared": never}, {"diverged": {"discrete": 150}}])
def test_without_an_end_at_the_threshold_nothing_is_held(tmp_path: Path, options: dict) -> None:
    run = make_run(tmp_path, flows=(), replays={}, change=always_open, **options)
    assert held(run) is None and held_at_edge(run) is None
