"""The command that chooses learning rates, from a config to its table."""

from pathlib import Path

import pytest
import yaml

from rodflow.cli import main as front
from rodflow.cli.commands import choose
from rodflow.cli.main import main
from rodflow.config.rates import Rate, read
from rodflow.config.settings import load, resolve
from rodflow.stages import onset

CONFIG = {
    "name": "small",
    "dataset": {"name": "digits", "samples": 60, "scaling": "unit"},
    "models": {"mlp": {"kind": "mlp", "hidden": [16], "steps": 400}},
    "optimizers": {"gd": {"learning_rate": "by_onset"}},
    "seeds": [1],
    "flows": ["stable"],
    "figures": ["thresholds"],
}


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(front.libraries, "prepare_all", lambda: ())
    monkeypatch.setattr(choose.folders, "keep_programs", lambda: ())
    path = tmp_path / "small.yaml"
    path.write_text(yaml.safe_dump(CONFIG))
    return path


@pytest.mark.slow
def test_the_table_that_it_writes_is_one_from_which_the_config_resolves(
    config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["choose", str(config)]) == 0
    table = config.with_name("small.rates.csv")
    rates = [row.learning_rate for row in read(table)]
    assert rates == sorted(rates)
    (run,) = resolve(load(config)).runs
    assert f"{run.settings['optimizer']['learning_rate']}" in capsys.readouterr().out
    assert run.settings["steps"] == 400


def test_a_killed_search_goes_on_where_it_was(
    config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried: list[float] = []

    def killed_at_the_third(data: object, settings: dict, progress: object) -> onset.Onset:
        tried.append(settings["optimizer"]["learning_rate"])
        if len(tried) == 3:
            raise KeyboardInterrupt
        at = 1.0 / tried[-1]
        return onset.Onset(at if at <= 200 else None, min(1.0, 200 / at), "completed")

    monkeypatch.setattr(onset, "onset", killed_at_the_third)
    with pytest.raises(KeyboardInterrupt):
        main(["choose", str(config)])
    assert len(read(config.with_name("small.rates.csv"))) == 2
    assert main(["choose", str(config)]) == 0
    assert tried.count(tried[2]) == 2  # the one that was killed
    assert len({*tried}) == len(tried) - 1
    before = len(tried)
    assert main(["choose", str(config)]) == 0
    assert len(tried) == before


def test_rows_that_were_made_for_other_settings_are_made_again(
    config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = onset.Onset(30.0, 1.0, "completed")
    monkeypatch.setattr(choose, "_row", lambda data, scan, rate: _row(scan, rate, found))
    assert main(["choose", str(config)]) == 0
    before = {row.rule for row in read(config.with_name("small.rates.csv"))}
    config.write_text(yaml.safe_dump(CONFIG | {"criterion": "cross_entropy"}))
    assert main(["choose", str(config)]) == 0
    after = {row.rule for row in read(config.with_name("small.rates.csv"))}
    assert len(after) == 1
    assert after != before


def _row(scan: choose.Scan, rate: float, found: onset.Onset) -> Rate:
    """Too late below 0.01, early above 0.02, and in the window between."""
    step = None if rate < 0.01 else 10.0 if rate > 0.02 else found.step
    return Rate(
        model=scan.model,
        optimizer=scan.optimizer,
        learning_rate=rate,
        length=scan.length,
        onset=step,
        highest=0.5 if step is None else 1.0,
        status=found.status,
        rule=scan.rule,
    )
