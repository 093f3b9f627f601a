"""Print all keys of a config with what is allowed and what holds by default, as Markdown.

It follows from the schema that checks a config. `rodflow keys > config/README.md` writes that page.
"""

import argparse
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import rodflow.config
from rodflow.config.values import Settings

MANY_CORES = False
SCHEMA = Path(rodflow.config.__file__).with_name("config.schema.json")
Rule = Settings
"""A part of a JSON schema."""

_HEAD = """# Experiments

One YAML file is one experiment; `config.yaml` beside this folder is the default one. Each of these runs with

    make reproduce CONFIG=config/NAME.yaml

and `make everything` runs all whose images are at hand. `rodflow check config/NAME.yaml` says what one resolves to. Its
results go to `results/<name>/`.

This page is printed by `rodflow keys` from the schema of a config (`src/rodflow/config/config.schema.json`), which an
editor with YAML support reads too. Write 5.0e-3 or 0.005: YAML reads 5e-3 as text.

A data set, a criterion, a model or an optimizer may be code of your own, `python: FILE.py:NAME`; its arguments are then
keys beside it. A learning rate may change in time. See `docs/tutorials/own_config.md`.
"""


def add_options(parser: argparse.ArgumentParser) -> None:
    """There are none."""


def run(args: argparse.Namespace) -> int:
    """Print them."""
    print(page(json.loads(SCHEMA.read_text(encoding="utf-8"))), end="")
    return 0


def page(schema: Rule) -> str:
    """The whole page."""
    known = schema["$defs"]
    top = {key: _whole(rule, known) for key, rule in schema["properties"].items()}
    parts = [_HEAD, "## All keys\n", _table(top)]
    for key in ("dataset", "models"):
        (forms,) = _choices(top[key], known)
        parts.append(f"## {key}\n")
        for form in forms:
            tag = next((k for k, rule in form["properties"].items() if "const" in rule), "python")
            named = {"const": "FILE.py:NAME", **form["properties"][tag]}
            own = {k: v for k, v in form["properties"].items() if k != tag}
            parts += [
                f"### {tag}: {named['const']}\n",
                f"{named.get('description', '')}\n",
                _table(own),
            ]
    parts += ["## optimizers\n", *_optimizers(top["optimizers"], known)]
    parts += ["### learning_rate: {schedule: NAME, ...}\n", *_schedules(known)]
    (sweep,) = top["sweeps"]["patternProperties"].values()
    parts += ["## sweeps\n", _table(_whole(sweep, known)["properties"])]
    for key in ("snapshots", "sharpness", "compute"):
        parts += [f"## {key}\n", _table(top[key]["properties"])]
    return "\n".join(parts)


def _optimizers(rule: Rule, known: Rule) -> Iterator[str]:
    """What all optimizers have, then what each has of its own."""
    entries = {
        name: {**_whole(entry["anyOf"][0], known), "description": entry["description"]}
        for name, entry in rule["properties"].items()
    }
    shared = [
        key
        for key in next(iter(entries.values()))["properties"]
        if all(key in entry["properties"] for entry in entries.values())
    ]
    first = next(iter(entries.values()))["properties"]
    yield "These keys are those of every optimizer:\n"
    yield _table({key: first[key] for key in shared})
    for name, entry in entries.items():
        own = {key: value for key, value in entry["properties"].items() if key not in shared}
        yield f"### {name}\n"
        yield f"{entry.get('description', '')}\n".lstrip()
        if own:
            yield _table(own)


def _schedules(known: Rule) -> Iterator[str]:
    """What may be said of each learning rate that changes in time."""
    for form in known.values():
        named = form.get("properties", {}).get("schedule")
        if named:
            own = {key: rule for key, rule in form["properties"].items() if key != "schedule"}
            yield f"`schedule: {named['const']}`. {named['description']}\n"
            yield _table(own)


def _choices(rule: Rule, known: Rule) -> Iterator[list[Rule]]:
    """The forms that a value may have, or each value under a name of the user's choice."""
    for part in (rule, *rule.get("patternProperties", {}).values()):
        if "oneOf" in part:
            yield [_whole(form, known) for form in part["oneOf"]]


def _whole(rule: Rule, known: Rule) -> Rule:
    """A rule with the one that it refers to."""
    if "$ref" not in rule:
        return rule
    name = rule["$ref"].removeprefix("#/$defs/")
    return {**known[name], **{key: value for key, value in rule.items() if key != "$ref"}}


def _table(rules: Mapping[str, Rule]) -> str:
    lines = ["| key | what | allowed | default |", "|---|---|---|---|"]
    for key, rule in rules.items():
        default = f"`{json.dumps(rule['default'])}`" if "default" in rule else ""
        words = (f"`{key}`", rule.get("description", ""), _allowed(rule), default)
        lines.append(f"| {' | '.join(word.replace('|', '/') for word in words)} |")
    return "\n".join(lines) + "\n"


def _allowed(rule: Rule) -> str:
    """What a value may be, in words."""
    if "enum" in rule:
        return ", ".join(f"`{value}`" for value in rule["enum"])
    if "const" in rule:
        return f"`{rule['const']}`"
    if "anyOf" in rule:
        return " or ".join(filter(None, map(_allowed, rule["anyOf"])))
    kind = rule.get("type", "")
    if kind == "array":
        each = _allowed(rule.get("items", {}))
        return f"list of {each}" if each else "list"
    names = {"integer": "whole number", "string": "text", "object": "mapping", "array": "list"}
    kinds: Sequence[str] = kind if isinstance(kind, list) else [kind]
    return f"{' or '.join(names.get(one, one) for one in kinds)}{_limits(rule)}"


def _limits(rule: Rule) -> str:
    signs = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}
    found = [f"{sign} {rule[name]}" for name, sign in signs.items() if name in rule]
    return f" {', '.join(found)}" if found else ""
