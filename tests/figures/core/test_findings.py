"""What a caption says that the runs of its figure show."""

import pandas as pd
import pytest

from rodflow.figures.core.findings import medians, share_within
from rodflow.figures.core.style import Numbers, OfNoRun


@pytest.fixture
def table() -> pd.DataFrame:
    numbers = Numbers()
    for seed, last in enumerate((0.1, 0.3, 0.2)):
        numbers.add(OfNoRun("mlp", "gd", seed), "rod", "error", [9.0, last], [1, 2])
    numbers.add(OfNoRun("mlp", "gd"), "stable", "error", [9.0, 5.0], [1, 2])
    return numbers.table()


def test_the_median_is_over_the_last_values_of_the_runs_of_each_process(
    table: pd.DataFrame,
) -> None:
    said = medians(table, "error", "the last error")
    assert "rod flow 0.20 (0.10 to 0.30 in 3 runs); stable flow 5.0." in said
    assert "the median of the last error" in said


def test_nothing_is_said_of_what_is_not_drawn(table: pd.DataFrame) -> None:
    assert (
        medians(table, "length", "the length") == share_within(table, "length", 0, 1, "it is") == ""
    )


def test_the_limits_of_a_share_count(table: pd.DataFrame) -> None:
    last = table[table["step"] == 2]
    assert "it is small in 2 of 4 runs" in share_within(last, "error", 0.1, 0.2, "it is small")


def test_runs_of_a_sweep_count_each_and_optimizers_may_be_told_apart() -> None:
    numbers = Numbers()
    for rate, value in ((0.1, 900.0), (0.2, 1100.0)):
        numbers.add(OfNoRun("mlp", "gd"), "discrete", f"late[rate={rate}]", value)
    numbers.add(OfNoRun("mlp", "adam"), "discrete", "late[rate=0.1]", 0.004)
    said = medians(numbers.table(), "late", "the level", by="optimizer")
    assert "gradient descent 1000 (900 to 1100 in 2 runs); Adam 0.0040." in said
    assert "1 of 3 runs" in share_within(numbers.table(), "late", 0, 1, "it is small")


def test_of_one_run_its_number_is_no_median() -> None:
    numbers = Numbers()
    numbers.add(OfNoRun("mlp", "gd"), "rod", "error", 0.123)
    said = medians(numbers.table(), "error", "the last error")
    assert said == "In this experiment the last error: rod flow 0.12."


def test_of_an_empty_figure_nothing_is_said() -> None:
    assert medians(Numbers().table(), "error", "the error") == ""
    assert share_within(Numbers().table(), "error", 0, 1, "it is") == ""
