"""What figures say of a learning rate that changes in time, and of an optimizer without one."""

from dataclasses import dataclass, field
from typing import Any

import pytest

from rodflow.figures.core.style import hyperparameters
from rodflow.figures.core.sweeps import NoStepSize, plain, step_size

RATE = {"schedule": "warmup_cosine", "peak": 0.02, "warmup": 20}


@dataclass
class Run:
    optimizer: str = "adam"
    path: str = "mlp/adam/seed0"
    settings: dict[str, Any] = field(default_factory=dict)


def of(**given: Any) -> Run:
    return Run(settings={"optimizer": given})


def test_a_rate_in_time_is_told_by_its_peak_and_name() -> None:
    assert hyperparameters(of(learning_rate=RATE, b1=0.9))[:3] == [
        "$\\eta$ ≤ 0.02",
        "warmup cosine",
        "$\\beta_1$ = 0.9",
    ]
    assert hyperparameters(of(learning_rate=0.1)) == ["$\\eta$ = 0.1"]
    assert plain(RATE) == "warmup_cosine 0.02"


def test_a_figure_by_step_size_refuses_a_run_without_a_single_one() -> None:
    assert step_size(of(learning_rate=1)) == 1.0
    with pytest.raises(NoStepSize, match="mlp/adam/seed0: has a learning rate that changes"):
        step_size(of(learning_rate=RATE))
    with pytest.raises(NoStepSize, match="has no learning_rate, by which this figure"):
        step_size(of(beta=0.9))
