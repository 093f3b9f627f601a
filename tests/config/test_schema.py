"""The schema of a config: made from declarations, the same as its file, and of one mind with the code."""

import copy
import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from pydantic import ValidationError

from rodflow.config import schema
from rodflow.config.catalogue import DATASETS, FIGURES, FLOWS, KINDS, MODELS, OPTIMIZERS
from rodflow.config.settings import load, resolve

ROOT = Path(__file__).parents[2]
CONFIGS = [
    path
    for path in (ROOT / "config.yaml", *sorted((ROOT / "config").glob("*.yaml")))
    if "python:" not in path.read_text()  # whose keys are those of its code: see test_own.py
]
RULES = schema.rules(schema.config())


def test_the_file_beside_the_code_is_what_the_code_makes() -> None:
    stored = Path(schema.__file__).with_name("config.schema.json")
    remedy = "python -m rodflow.config.schema > src/rodflow/config/config.schema.json"
    assert stored.read_text() == json.dumps(schema.for_editors(), indent=1) + "\n", remedy


def test_it_is_a_schema() -> None:
    Draft202012Validator.check_schema(RULES)


def resolved(rule: dict[str, Any]) -> dict[str, Any]:
    """A rule with its reference merged in."""
    if "$ref" not in rule:
        return rule
    target = RULES["$defs"][rule["$ref"].removeprefix("#/$defs/")]
    return resolved(target | {key: value for key, value in rule.items() if key != "$ref"})


def properties(rule: Any) -> Iterator[tuple[str, dict[str, Any], bool]]:
    """Every key that a rule describes, and whether it must be given."""
    if isinstance(rule, dict):
        for name, inner in rule.get("properties", {}).items():
            yield name, resolved(inner), name in rule.get("required", ())
    for inner in (
        rule.values() if isinstance(rule, dict) else rule if isinstance(rule, list) else ()
    ):
        yield from properties(inner)


def test_every_key_is_described_and_has_a_default_or_must_be_given() -> None:
    partial = {key for name in OPTIMIZERS for key in schema.rules(schema.axes(name))["properties"]}
    partial |= {*OPTIMIZERS, "only", "models", "restart", "flows"}
    for name, rule, required in properties(RULES):
        assert "description" in rule or "not" in rule, name
        assert "default" in rule or required or name in partial, name


def names_in(rule: Any) -> set[str]:
    """Every constant, allowed value and key in a rule."""
    if isinstance(rule, list):
        return {name for inner in rule for name in names_in(inner)}
    if not isinstance(rule, dict):
        return {rule} if isinstance(rule, str) else set()
    return {*rule.get("properties", {})} | {n for inner in rule.values() for n in names_in(inner)}


def test_everything_that_is_declared_may_be_named() -> None:
    declared = {name for kind in KINDS for name in kind}
    settings = {key for name in OPTIMIZERS for key in OPTIMIZERS[name].hyperparameters}
    settings |= {key for kind in (MODELS, DATASETS) for name in kind for key in kind[name].settings}
    assert declared | settings <= names_in(RULES)


def test_flows_and_figures_are_offered_in_their_order() -> None:
    offered = RULES["properties"]
    assert offered["flows"]["items"]["enum"] == [*FLOWS]
    main = [name for name in FIGURES if not FIGURES[name].of_sweeps]
    assert offered["figures"]["items"]["enum"] == main


def accepted(config: Any) -> bool:
    """Whether the code takes the keys of a config."""
    try:
        schema.config().validate_python(config)
    except ValidationError:
        return False
    return True


IN_TIME = [path for path in CONFIGS if "schedule:" in path.read_text(encoding="utf-8")]
"""Configs with a rate in time, which the code takes out of a config before it checks the rest of its keys."""


@pytest.mark.parametrize("path", IN_TIME, ids=lambda path: path.name)
def test_a_config_with_a_rate_in_time_is_valid_for_an_editor_and_resolves(path: Path) -> None:
    config = load(path)
    assert Draft202012Validator(schema.for_editors()).is_valid(config)
    assert resolve(config).runs


@pytest.mark.parametrize(
    "path", [path for path in CONFIGS if path not in IN_TIME], ids=lambda path: path.name
)
def test_a_validator_of_json_schema_and_the_code_agree(path: Path) -> None:
    config, draw = load(path), random.Random(0)
    validator = Draft202012Validator(RULES)
    assert validator.is_valid(config) and accepted(config)
    odd = [None, True, 0, 1, 2.0, -1, 0.5, 10**6, "adam", "", [], [1, 1], [1], {}, {"a": 1}]
    for _ in range(60):
        changed = copy.deepcopy(config)
        place: Any = changed
        while True:  # down to some place
            key = draw.choice([*place] if isinstance(place, dict) else [*range(len(place))])
            if not isinstance(place[key], dict | list) or not place[key] or draw.random() < 0.2:
                break
            place = place[key]
        place[key] = draw.choice(odd)
        assert validator.is_valid(changed) == accepted(changed), (key, place[key])


@pytest.mark.parametrize("name", [*OPTIMIZERS])
def test_a_sweep_starts_at_the_first_step_at_the_earliest(name: str) -> None:
    assert schema.rules(schema.axes(name))["properties"]["start"]["minimum"] == 1


def test_an_editor_finds_the_schema_from_the_first_line_of_every_config() -> None:
    for path in CONFIGS:
        first = path.read_text().splitlines()[0]
        said, _, named = first.partition("$schema=")
        assert said == "# yaml-language-server: "
        target = (path.parent / named).resolve()
        assert target == Path(schema.__file__).with_name("config.schema.json").resolve()
