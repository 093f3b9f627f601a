"""The rule by which learning rates are chosen, on onsets that are made up, and what a config makes of its table."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from rodflow.config import rates
from rodflow.config.experiment import Experiment
from rodflow.config.rates import Rate, choose, middle, next_rate, read, table_of, written
from rodflow.config.settings import ConfigError, load, resolve, scanned

LENGTH = 1000
GRID = [rates.BASE * 2.0**exponent for exponent in range(-20, rates.FURTHEST + 1)]
ROOT = Path(__file__).parents[2]
TABLES = sorted(ROOT.glob("*.rates.csv")) + sorted((ROOT / "config").glob("*.rates.csv"))
CONFIG: dict[str, Any] = {
    "name": "small",
    "dataset": {"name": "digits", "samples": 60},
    "models": {"mlp": {"kind": "mlp", "hidden": [4], "steps": LENGTH}},
    "optimizers": {"gd": {"learning_rate": "by_onset"}},
    "seeds": [1],
}


def rate(
    value: float, onset: float | None, highest: float = 0.5, status: str = "completed"
) -> Rate:
    return Rate(
        model="mlp",
        optimizer="gd",
        learning_rate=value,
        length=LENGTH,
        onset=onset,
        highest=highest,
        status=status,
        rule="made up",
    )


def look(value: float, scale: float) -> Rate:
    """A run whose onset is at scale / rate, with its sharpness over threshold in proportion to time before."""
    onset = scale / value
    if onset > LENGTH / 2:
        return rate(value, None, highest=LENGTH / 2 / onset)
    return rate(value, max(onset, 50.0), highest=1.0)


def searched(scale: float, begin: float = rates.BASE) -> list[Rate]:
    found: list[Rate] = []
    while (value := next_rate(found, begin)) is not None:
        found.append(look(value, scale))
        assert len(found) < 40
    return found


@given(st.floats(1e-3, 1e3), st.sampled_from(GRID[15:30]))
def test_the_search_finds_what_the_whole_grid_has_wherever_it_begins(
    scale: float, begin: float
) -> None:
    assert choose(searched(scale, begin)) == pytest.approx(
        choose([look(value, scale) for value in GRID])
    )


def test_the_search_sees_a_rate_that_is_too_late_and_one_that_is_too_early() -> None:
    parts = [one.part for one in sorted(searched(2.0), key=lambda one: one.learning_rate)]
    assert parts[0] is None
    assert parts[-1] < 0.1
    assert sum(part is not None and 0.1 <= part <= 0.5 for part in parts) == 2


def test_a_rate_is_tried_once() -> None:
    values = [one.learning_rate for one in searched(7.0)]
    assert len(values) == len({*values})


def test_a_search_that_never_reaches_the_threshold_ends() -> None:
    found: list[Rate] = []
    while (value := next_rate(found)) is not None:
        found.append(rate(value, None, highest=0.3))
    assert choose(found) == ()
    assert found[-1].learning_rate == pytest.approx(rates.BASE * 2.0**rates.FURTHEST)


def test_a_run_that_diverges_below_its_threshold_counts_as_too_early() -> None:
    found = [rate(1e-5, None), rate(2e-5, 400.0), rate(4e-5, None, status="diverged at step 9")]
    assert next_rate(found) is None


def test_rates_are_chosen_by_the_window_whose_ends_belong_to_it() -> None:
    onsets = [(1e-5, 501.0), (2e-5, 500.0), (4e-5, 100.0), (8e-5, 99.0)]
    assert choose([rate(*pair) for pair in onsets]) == (2e-5, 4e-5)


def test_of_more_than_three_the_smallest_are_chosen_and_the_search_ends_with_them() -> None:
    onsets = [(1e-5, 480.0), (2e-5, 300.0), (4e-5, 310.0), (8e-5, 290.0), (16e-5, 305.0)]
    found = [rate(5e-6, None), *(rate(*pair) for pair in onsets)]
    assert choose(found) == (1e-5, 2e-5, 4e-5)
    assert next_rate(found[:3]) == 4e-5
    assert next_rate(found[:4]) is None


def test_the_middle_of_two_rates_is_the_larger() -> None:
    assert middle((1.0, 2.0, 4.0)) == 2.0
    assert middle((1.0, 2.0)) == 2.0


def test_a_table_is_read_as_it_was_written(tmp_path: Path) -> None:
    rows = [rate(1e-5, None), rate(2e-5, 123.4), rate(0.08192, None, status="diverged at step 3")]
    path = tmp_path / "a.rates.csv"
    path.write_text(written(rows))
    assert read(path) == rows
    assert [line.split(",")[8] for line in path.read_text().splitlines()[1:]] == ["", "yes", ""]


def test_a_row_that_is_none_is_refused_with_its_line_and_a_remedy(tmp_path: Path) -> None:
    path = tmp_path / "a.rates.csv"
    path.write_text(written([rate(1e-5, None), rate(2e-5, 123.4)]).replace("123.4", "soon"))
    with pytest.raises(ConfigError, match=r"line 3: onset is 'soon'; .*rodflow choose"):
        read(path)


@pytest.mark.parametrize("value", ["inf", "1e400", "nan", "1e300", "5e-324", "0", "-1e-5"])
def test_a_rate_that_is_on_no_grid_is_refused(value: str, tmp_path: Path) -> None:
    path = tmp_path / "a.rates.csv"
    path.write_text(written([rate(1e-5, None)]).replace("1e-05", value))
    with pytest.raises(ConfigError, match=r"line 2: learning_rate is .*rodflow choose"):
        read(path)


# In a config


def with_table(config: dict[str, Any], scale: float) -> dict[str, Any]:
    """A config with the table of a made-up search."""
    rows = [
        row.model_copy(
            update={"model": scan.model, "optimizer": scan.optimizer, "rule": scan.rule}
        ).model_dump()
        for scan in scanned(config)[1]
        for row in searched(scale)
    ]
    return config | {"rates": rows}


def resolved(scale: float = 2.0, **changes: Any) -> Experiment:
    return resolve(with_table(CONFIG | changes, scale))


def refusal(config: dict[str, Any]) -> str:
    with pytest.raises(ConfigError) as caught:
        resolve(config)
    return str(caught.value)


def test_a_run_takes_the_middle_rate_and_its_model_s_length() -> None:
    settings = resolved().run("mlp/gd/seed1").settings
    assert settings["optimizer"]["learning_rate"] == 0.01024
    assert (settings["start"], settings["steps"]) == (50, LENGTH)


def test_a_sweep_by_onset_has_the_other_rates() -> None:
    sweep = {"model": "mlp", "optimizer": "gd", "over": {"learning_rate": ["by_onset"]}}
    assert [run.path for run in resolved(sweeps={"rates": sweep}).all_runs] == [
        "mlp/gd/seed1",
        "sweeps/rates/learning_rate=0.00512/mlp/gd/seed1",
    ]


def test_a_run_that_does_not_reach_its_threshold_is_listed_and_left_out() -> None:
    config = CONFIG | {
        "optimizers": {"gd": CONFIG["optimizers"]["gd"], "sgd": {"learning_rate": 1}}
    }
    experiment = resolve(with_table(config, 1e9))
    assert experiment.unreached == ("mlp/gd",)
    assert [run.path for run in experiment.all_runs] == ["mlp/sgd/seed1"]


def test_where_no_run_reaches_its_threshold_there_is_nothing_to_run() -> None:
    assert refusal(with_table(CONFIG, 1e9)).startswith("optimizers has nothing to run: ")


def test_a_missing_table_is_refused_with_the_command_that_makes_it() -> None:
    assert refusal(CONFIG) == (
        "optimizers.gd.learning_rate is by_onset; the table has no complete search for mlp with these settings: "
        "run rodflow choose with this config"
    )


def test_a_search_that_has_not_ended_is_refused() -> None:
    config = with_table(CONFIG, 2.0)
    config["rates"] = [row for row in config["rates"] if row["onset"] is None or row["onset"] > 100]
    assert "no complete search" in refusal(config)


@pytest.mark.parametrize(
    "changes",
    [
        {"criterion": "cross_entropy"},
        {"models": {"mlp": {"kind": "mlp", "hidden": [4], "steps": 600}}},
        {
            "optimizers": {
                "gd": {"learning_rate": "by_onset"},
                "adam": {"learning_rate": "by_onset"},
            }
        },
    ],
)
def test_a_table_that_was_made_for_something_else_is_refused(changes: dict[str, Any]) -> None:
    assert "rodflow choose" in refusal(with_table(CONFIG, 2.0) | changes)


def test_what_is_not_looked_at_does_not_make_a_table_stale() -> None:
    changes = {"seeds": [1, 2], "flows": ["stable"], "sharpness": {"count": 5}}
    assert len(resolve(with_table(CONFIG, 2.0) | changes).runs) == 2


def test_the_seed_of_the_search_is_never_reported() -> None:
    assert refusal(CONFIG | {"seeds": [0, 1]}).startswith("seeds has 0, the seed of the runs by")


def test_no_sweep_reports_the_seed_of_the_search() -> None:
    sweep = {"model": "mlp", "optimizer": "gd", "over": {"seed": [0, 1]}}
    text = refusal(CONFIG | {"sweeps": {"seeds": sweep}})
    assert text.startswith("sweeps.seeds.over.seed.0 is 0, the seed of the runs by which")


@pytest.mark.parametrize("key", ["steps", "start"])
def test_a_length_of_its_own_is_refused_where_the_rate_is_chosen(key: str) -> None:
    optimizers = {"gd": {"learning_rate": "by_onset", key: 40}}
    text = refusal(CONFIG | {"optimizers": optimizers})
    assert text.startswith(f"optimizers.gd.{key} is 40; with learning_rate by_onset it follows")


def test_an_optimizer_without_a_threshold_is_refused() -> None:
    text = refusal(CONFIG | {"optimizers": {"lion": {"learning_rate": "by_onset"}}})
    assert text == "optimizers.lion.learning_rate is by_onset; lion has no threshold: give a number"


def test_a_model_without_a_length_is_refused_where_the_rate_is_chosen() -> None:
    text = refusal(CONFIG | {"models": {"mlp": {"kind": "mlp"}}})
    assert text.startswith("models.mlp.steps is missing; gd has learning_rate by_onset")


def test_a_sweep_by_onset_of_an_optimizer_with_a_rate_of_its_own_is_refused() -> None:
    sweep = {"model": "mlp", "optimizer": "gd", "over": {"learning_rate": ["by_onset"]}}
    config = CONFIG | {"optimizers": {"gd": {"learning_rate": 0.1}}, "sweeps": {"rates": sweep}}
    assert refusal(config).startswith(
        "sweeps.rates.over.learning_rate.0 is by_onset; the optimizer's own"
    )


def test_the_table_is_read_from_beside_the_config(tmp_path: Path) -> None:
    path = tmp_path / "small.yaml"
    path.write_text(yaml.safe_dump(CONFIG))
    rows = [Rate(**row) for row in with_table(CONFIG, 2.0)["rates"]]
    table_of(path).write_text(written(rows))
    assert table_of(path).name == "small.rates.csv"
    assert resolve(load(path)).runs == resolved().runs


@pytest.mark.parametrize("path", TABLES, ids=lambda path: path.name)
def test_the_tables_of_the_repository_say_what_the_rule_chooses(path: Path) -> None:
    assert path.read_text() == written(read(path))
