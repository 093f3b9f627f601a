"""Code of one's own in a config: its signature is its declaration, and nothing of it is run to check a config."""

import copy
import os
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from rodflow.config import schema
from rodflow.config.plan import batches
from rodflow.config.settings import ConfigError, resolve

CODE = '''
"""Nothing here can be run, so a test that runs it fails."""
import there_is_no_such_module
import helper

raise SystemExit("run")


def data(files, noise: float = 0.1):
    pass


def huber(outputs, targets, delta=1.0):
    pass


class ResMLP:
    width: int
    depth: int = 2
    activation: object = helper.tanh
    seed: int = 0


def muon(learning_rate: float, beta: float = 0.95, nesterov: bool = True, *, steps):
    pass


muon_too = muon


def clashing(start):
    pass


def long(steps=3, *, seed):
    pass
'''
CONFIG: dict[str, Any] = {
    "name": "own",
    "dataset": {"python": "problem.py:data", "files": ["numbers.npz"]},
    "criterion": {"python": "problem.py:huber"},
    "models": {"mine": {"python": "problem.py:ResMLP", "width": 16}},
    "optimizers": {
        "muon": {"python": "problem.py:muon", "learning_rate": 0.02, "start": 50, "steps": 600},
        "adam": {"learning_rate": 0.005, "steps": 600},
    },
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "problem.py").write_text(CODE)
    (tmp_path / "helper.py").write_text("tanh = 1\n")
    (tmp_path / "numbers.npz").write_bytes(b"numbers")
    return tmp_path


def changed(**changes: Any) -> dict[str, Any]:
    """The config with other values; a key with double underscores leads into mappings."""
    config = copy.deepcopy(CONFIG)
    for path, value in changes.items():
        *outer, last = path.split("__")
        inner = config
        for key in outer:
            inner = inner[key]
        inner[last] = value
    return config


def test_the_arguments_of_the_code_are_keys_with_its_defaults(folder: Path) -> None:
    muon, adam = (run.settings for run in resolve(CONFIG, folder).runs)
    assert muon["model"] == {"kind": "problem.py:ResMLP", "width": 16, "depth": 2}
    assert muon["optimizer"] == {
        "name": "problem.py:muon",
        "learning_rate": 0.02,
        "beta": 0.95,
        "nesterov": True,
    }
    assert adam["optimizer"]["name"] == "adam"
    assert muon["criterion"] == "problem.py:huber" and muon["own"]["criterion"] == {"delta": 1.0}
    assert muon["dataset"]["name"] == "problem.py:data" and muon["dataset"]["noise"] == 0.1


def digests(folder: Path, config: dict[str, Any] = CONFIG) -> list[str]:
    return [run.digest for run in resolve(config, folder).runs]


def test_a_run_changes_with_the_code_that_it_uses_and_not_with_comments(folder: Path) -> None:
    before = digests(folder)
    (folder / "problem.py").write_text(CODE.replace("0.95", "0.9"))
    assert all(one != other for one, other in zip(before, digests(folder), strict=True))
    (folder / "problem.py").write_text(CODE + "# a comment\n")
    assert digests(folder) == before
    (folder / "helper.py").write_text("tanh = 2\n")
    assert digests(folder) != before


def test_only_the_runs_that_use_a_file_change_with_it(folder: Path) -> None:
    (folder / "other.py").write_text("def mine(learning_rate): pass\n")
    config = changed(optimizers__mine={"python": "other.py:mine", "learning_rate": 0.1})
    before = digests(folder, config)
    (folder / "other.py").write_text("def mine(learning_rate): return 1\n")
    differs = [a != b for a, b in zip(before, digests(folder, config), strict=True)]
    assert differs == [False, False, True]


def test_a_file_of_the_data_is_known_by_its_content(folder: Path) -> None:
    before = digests(folder)
    (folder / "numbers.npz").write_bytes(b"others")
    assert digests(folder) != before


def test_a_config_means_the_same_runs_in_another_folder(folder: Path) -> None:
    def places(at: Path) -> list[dict[str, Any]]:
        settings = [copy.deepcopy(run.settings) for run in resolve(CONFIG, at).runs]
        for one in settings:
            del one["own"]["folder"]
        return settings

    here = places(folder)
    elsewhere = folder / "elsewhere"
    elsewhere.mkdir()
    for name in ("problem.py", "helper.py", "numbers.npz"):
        (elsewhere / name).write_bytes((folder / name).read_bytes())
    assert places(elsewhere) == here


def test_a_sweep_over_an_argument_of_ones_own_has_a_job_for_each_run(folder: Path) -> None:
    over = {"beta": [0.5, 0.9], "steps": [300]}
    sweeps = {"betas": {"model": "mine", "optimizer": "muon", "over": over}}
    experiment = resolve(changed(sweeps=sweeps), folder)
    assert [run.settings["optimizer"]["beta"] for run in experiment.sweeps[0].runs] == [
        *(0.5, 0.9),
        0.95,
    ]
    assert [len(batch) for batch in batches(experiment)] == [1, 1, 1]


BAD = {
    'optimizers.muon.python is "gone.py:muon"; {folder}/gone.py: No such file': {
        "optimizers__muon__python": "gone.py:muon"
    },
    'optimizers.muon.python is "problem.py:moun"; problem.py has no function or class moun; it has data, huber, '
    "ResMLP, muon, clashing, long; did you mean muon?": {
        "optimizers__muon__python": "problem.py:moun"
    },
    'optimizers.muon.python is "problem.py:muon_too"; problem.py has no function': {
        "optimizers__muon__python": "problem.py:muon_too"
    },
    'optimizers.muon.python is "muon"; it must be FILE.py:NAME': {
        "optimizers__muon__python": "muon"
    },
    'optimizers.muon.python is "problem.py:clashing"; clashing takes start, which is another key here': {
        "optimizers__muon__python": "problem.py:clashing"
    },
    "optimizers.muon.bta is 0.9, but muon has no bta; it takes python, learning_rate, beta, nesterov, start": {
        "optimizers__muon__bta": 0.9
    },
    'optimizers.muon.beta is "high"; it must be a number': {"optimizers__muon__beta": "high"},
    'models.mine.python is "problem.py:long"; long takes steps, which is another key here': {
        "models__mine": {"python": "problem.py:long"}
    },
    "models.mine.width is missing; it has no default": {
        "models__mine": {"python": "problem.py:ResMLP"}
    },
    "models.mine.width is 1.5; it must be a whole number": {"models__mine__width": 1.5},
    'models.mine.kind is "mlp"; python says what it is: give one of them': {
        "models__mine__kind": "mlp"
    },
    'models.mine.kind is "problem.py:ResMLP"; code of your own is named by python': {
        "models__mine": {"kind": "problem.py:ResMLP"}
    },
    'dataset.files.0 is "gone.npz"; {folder}/gone.npz: No such file': {
        "dataset__files": ["gone.npz"]
    },
    'criterion.python is "problem.py:clashing"; clashing must take outputs and targets first': {
        "criterion": {"python": "problem.py:clashing"}
    },
    "flows has central for muon, which is your own; the central flow is built for": {
        "flows": ["central"],
        "optimizers__adam__flows": [],
    },
    "optimizers.muon.batch_size is 4; give dataset.samples too": {
        "optimizers__muon__batch_size": 4,
        "optimizers__muon__flows": [],
    },
    'optimizers."My Muon" is not a usable name; it must be lower-case': {
        "optimizers__My Muon": {"python": "problem.py:muon", "learning_rate": 1.0}
    },
}


@pytest.mark.parametrize("message", BAD)
def test_what_cannot_be_used_is_refused_in_one_line(folder: Path, message: str) -> None:
    with pytest.raises(ConfigError) as refused:
        resolve(changed(**BAD[message]), folder)
    assert str(refused.value).startswith(message.format(folder=folder))
    assert "\n" not in str(refused.value)


def test_a_file_that_is_no_python_is_named_with_its_line(folder: Path) -> None:
    (folder / "problem.py").write_text("x = 1\ndef data(:\n")
    with pytest.raises(ConfigError, match=r"problem.py:2: invalid syntax \(and 3 more\)"):
        resolve(CONFIG, folder)


@pytest.mark.parametrize("file", ["problem.py", "numbers.npz"])
def test_a_pipe_in_place_of_a_file_is_refused_and_not_read(folder: Path, file: str) -> None:
    (folder / file).unlink()
    os.mkfifo(folder / file)
    with pytest.raises(ConfigError, match="is no regular file"):
        resolve(CONFIG, folder)


def test_the_schema_of_editors_takes_code_of_ones_own() -> None:
    validator = Draft202012Validator(schema.for_editors())
    assert validator.is_valid(CONFIG)
    assert not validator.is_valid(changed(optimizers__muon__python="muon"))
    assert not validator.is_valid(changed(models__mine={"width": 16}))
