"""What a command line changes in a config, as Snakemake hands it over."""

from typing import Any

import pytest
import yaml
from snakemake.cli import parse_config

from rodflow.config.overrides import changed
from rodflow.config.settings import ConfigError, resolve

CONFIG = """
name: tiny
dataset: {name: digits, samples: 100, scaling: unit}
models: {mlp: {kind: mlp, hidden: [8]}}
optimizers: {gd: {learning_rate: 0.1, start: 20, steps: 40}}
seeds: [1]
flows: [stable]
"""


def called_with(*words: str) -> dict[str, Any]:
    """The config after `snakemake --config` with these words."""
    return changed(yaml.safe_load(CONFIG), parse_config(words))


@pytest.mark.parametrize(
    ("word", "key", "value"),
    [
        ("seeds=[2]", "seeds", [2]),
        ("seeds=[1, 2]", "seeds", [1, 2]),
        ("seeds=[]", "seeds", []),
        ("flows=[stable, rod]", "flows", ["stable", "rod"]),
        ("name=other", "name", "other"),
        ("replicas=2", "replicas", 2),
        ("sharpness={tolerance: 1.0e-4}", "sharpness", {"tolerance": 1e-4}),
        ("dataset=", "dataset", None),
        ("dataset={samples: 50}", "dataset", {"name": "digits", "samples": 50, "scaling": "unit"}),
        ("dataset={classes: null}", "dataset", {**yaml.safe_load(CONFIG)["dataset"], "classes": None}),
        ("models={b: {kind: cnn, channels: [4]}}", "models",
         {"mlp": {"kind": "mlp", "hidden": [8]}, "b": {"kind": "cnn", "channels": [4]}}),
        ("optimizers={gd: {steps: 60}}", "optimizers",
         {"gd": {"learning_rate": 0.1, "start": 20, "steps": 60}}),
    ],
)  # fmt: skip
def test_a_word_of_the_command_line_changes_what_it_names_and_nothing_else(
    word: str, key: str, value: Any
) -> None:
    assert called_with(word) == yaml.safe_load(CONFIG) | {key: value}


def test_nested_words_of_the_command_line_resolve() -> None:
    experiment = resolve(
        called_with("seeds=[1,2]", "dataset={name: digits, samples: 50, scaling: unit}")
    )
    assert [run.seed for run in experiment.runs] == [1, 2]
    assert experiment.dataset["samples"] == 50


def test_a_number_that_yaml_takes_for_text_is_refused_with_words_that_work() -> None:
    with pytest.raises(ConfigError, match=r"write 5.0e-3 or 0.005"):
        resolve(called_with("optimizers={gd: {learning_rate: 5e-3}}"))
    settings = resolve(called_with("optimizers={gd: {learning_rate: 5.0e-3}}")).runs[0].settings
    assert settings["optimizer"]["learning_rate"] == 0.005


def test_keys_with_dots_lead_into_mappings() -> None:
    config = yaml.safe_load(CONFIG)
    found = changed(config, {"optimizers.gd.steps": "60", "sharpness.count": 2})
    assert found["optimizers"] == {"gd": config["optimizers"]["gd"] | {"steps": 60}}
    assert found["sharpness"] == {"count": 2}
    assert config == yaml.safe_load(CONFIG)


def test_a_key_that_leads_nowhere_is_refused_by_its_name() -> None:
    with pytest.raises(ConfigError, match=r"^seeds is \{.*\}; it must be a list"):
        resolve(changed(yaml.safe_load(CONFIG), {"seeds.first": 2}))


@pytest.mark.parametrize("text", ["a: b: c", "[1, 2", "", " ", "*a"])
def test_text_that_is_no_yaml_stays_text(text: str) -> None:
    assert changed({}, {"name": text}) == {"name": text}


def test_values_that_are_no_text_stay_as_they_are() -> None:
    assert changed({"a": {"b": 1}}, {"a": {"c": 2.5}, "d": [True, None]}) == {
        "a": {"b": 1, "c": 2.5},
        "d": [True, None],
    }
