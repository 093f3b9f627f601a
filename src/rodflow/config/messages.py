"""The words of a refusal: one line with the key, its value, what is allowed, and what was perhaps meant."""

import json
import math
import re
from collections.abc import Iterable
from difflib import get_close_matches

from pydantic_core import ErrorDetails

from rodflow.config.experiment import Settings
from rodflow.errors import RodflowError

Place = tuple[str | int, ...]
"""Where a value stands in a config: the keys and list positions that lead to it."""

Problem = tuple[Place, str]
"""A place and what is wrong there."""


FOLDER_NAME = (
    "it must be lower-case letters, digits, _ and -, the first a letter or digit, 64 at most"
)
FOLDER_PATTERN = "^[a-z0-9][a-z0-9_-]{0,63}$"
"""What a name must be that becomes a folder, in words and as a pattern."""


class ConfigError(RodflowError, ValueError):
    """A config that cannot be run: one line with the key, its value and what is allowed."""


def refuse(problems: Iterable[Problem], config: object) -> None:
    """Raise the first of the problems in the order of `config`, if there is one.

    Args:
        problems: each a place and what is wrong there; of several at one place the first counts.
        config: as it was given, from which the order is.

    Raises:
        ConfigError: names it and counts the others.
    """
    texts: dict[Place, str] = {}
    for place, text in problems:
        texts.setdefault(_given(place, config), text)
    if texts:
        first = min(texts, key=lambda place: _position(place, config))
        path = ".".join(map(key_name, first)) or "the config"
        more = f" (and {len(texts) - 1} more)" if len(texts) > 1 else ""
        raise ConfigError(f"{path} {texts[first]}{more}")


def explain(error: ErrorDetails, rules: Settings, config: object) -> Problem:
    """A finding of pydantic in words: where it is, what the value is, and what is allowed.

    Args:
        error: the finding.
        rules: the JSON schema of the config.
        config: what was checked.
    """
    kind, loc = error["type"], error["loc"]
    if kind == "extra_forbidden":
        place, rule, value = _follow(loc[:-1], rules, config)
        unknown = loc[-1]
        owner, known = key_name(place[-1]) if place else "the config", [*rule["properties"]]
        takes = f"{owner} has no {key_name(unknown)}; it takes {', '.join(known)}"
        text = f"is {show(_entries(value)[unknown])}, but {takes}{suggest(unknown, known)}"
        return (*place, unknown), text
    place, rule, value = _follow(loc, rules, config)
    if kind == "missing":
        return place, "is missing; it has no default"
    if kind in ("union_tag_not_found", "union_tag_invalid"):
        tag = rule["discriminator"]["propertyName"]
        if tag not in _entries(value):
            return (*place, tag), "is missing; it has no default"
        place, value = (*place, tag), _entries(value)[tag]
        forms = [_resolved(form, rules)["properties"][tag]["const"] for form in rule["oneOf"]]
        rule = {"type": ["string"], "enum": forms}
        kind = "literal_error"
    if loc[-1:] == ("[key]",):
        return place, f"is not a usable name; {_allowed(kind, error['msg'], rule, value)}"
    return place, f"is {show(value)}; {_allowed(kind, error['msg'], rule, value)}"


def _follow(loc: Place, rules: Settings, config: object) -> tuple[Place, Settings, object]:
    """Where pydantic's `loc` leads: the place without the names of forms, the rule there, and the value there."""
    place: Place = ()
    rule, of_keys = _resolved(rules, rules), Settings()
    value = config
    for step in loc:
        if step == "[key]":
            return place, of_keys, place[-1]
        if "discriminator" in rule:  # the step is no key, but names the form that holds
            rule = _resolved({"$ref": rule["discriminator"]["mapping"][step]}, rules)
            continue
        of_keys = rule.get("propertyNames", {})
        rule = _resolved(_inside(rule, step), rules)
        place, value = (*place, step), _entries(value).get(step)
    return place, rule, value


def _inside(rule: Settings, step: str | int) -> Settings:
    """The rule for an entry of a list or mapping."""
    if isinstance(step, int):
        return rule["items"]
    known = rule.get("properties", {})
    others = [*rule.get("patternProperties", {}).values(), rule.get("additionalProperties", {})]
    return known.get(step, others[0])


def _resolved(rule: Settings, rules: Settings) -> Settings:
    """A rule with its references, and that for what is not null, merged in; `type` lists all types."""
    if "$ref" in rule:
        others = {key: value for key, value in rule.items() if key != "$ref"}
        return _resolved(rules["$defs"][rule["$ref"].removeprefix("#/$defs/")] | others, rules)
    if "anyOf" in rule:
        forms = [_resolved(form, rules) for form in rule["anyOf"]]
        types = [name for form in forms for name in form["type"]]
        return {**forms[0], **rule, "type": types}
    types = rule.get("type", "object" if "discriminator" in rule else [])
    return {**rule, "type": [types] if isinstance(types, str) else types}


_BOUNDS = {
    "minimum": "at least",
    "exclusiveMinimum": "greater than",
    "maximum": "at most",
    "exclusiveMaximum": "less than",
}
_TYPES: dict[str, tuple[str, tuple[type, ...]]] = {
    "object": ("a mapping", (dict,)),
    "array": ("a list", (list,)),
    "string": ("text", (str,)),
    "integer": ("a whole number", (int,)),
    "number": ("a number", (int, float)),
    "boolean": ("true or false", (bool,)),
    "null": ("null", (type(None),)),
}


def _allowed(kind: str, message: str, rule: Settings, value: object) -> str:
    match kind:
        case "literal_error" if any(_is(value, name) for name in rule["type"]):
            if "const" in rule:
                return f"it must be {show(rule['const'])}"
            allowed = rule["enum"]
            return f"it must be one of {', '.join(map(str, allowed))}{suggest(value, allowed)}"
        case "greater_than" | "greater_than_equal" | "less_than" | "less_than_equal":
            bounds = [f"{words} {rule[key]}" for key, words in _BOUNDS.items() if key in rule]
            return f"it must be {' and '.join(bounds)}"
        case "too_short" | "string_too_short":
            least = next(rule[key] for key in _LEAST if key in rule)
            return (
                "it must not be empty" if least == 1 else f"it must have at least {least} entries"
            )
        case "too_long":
            return f"it must have at most {rule['maxItems']} entries"
        case "string_pattern_mismatch":
            return rule.get("patternErrorMessage") or f"it must be {rule['description']}"
        case "refused" | "repeated":
            return message
    words = " or ".join(_TYPES[name][0] for name in rule["type"])
    number = {"integer", "number"} & {*rule["type"]}
    return f"it must be {words}{_number_as_text(value) if number else ''}"


_LEAST = ("minItems", "minProperties", "minLength")


def _is(value: object, name: str) -> bool:
    return isinstance(value, _TYPES[name][1]) and isinstance(value, bool) == (name == "boolean")


def _number_as_text(value: object) -> str:
    """How to write a number that YAML took for text, such as 5e-3."""
    try:
        number = float(value) if isinstance(value, str) else math.nan
    except ValueError:
        return ""
    if not math.isfinite(number):
        return ""
    ways = [repr(number)] if "e" not in repr(number) else []
    mantissa, e, exponent = str(value).strip().lower().partition("e")
    if e:
        ways.insert(0, f"{float(mantissa)!r}e{int(exponent):+d}")
    return f" (this is text; write {' or '.join(ways)})" if ways else ""


def _given(place: Place, config: object) -> Place:
    """`place`, or that of the name which is given alone for a list of one."""
    for count, step in enumerate(place):
        if isinstance(config, str):
            return place[:count]
        config = _entries(config).get(step)
    return place


def _position(place: Place, config: object) -> tuple[int, ...]:
    """Where `place` comes in the config; a missing key comes after the keys beside it."""
    position = []
    for step in place:
        entries = _entries(config)
        keys = [*entries]
        position.append(keys.index(step) if step in entries else len(keys))
        config = entries.get(step)
    return tuple(position)


def _entries(value: object) -> dict[str | int, object]:
    """What a mapping or a list holds, by key or position."""
    if isinstance(value, dict):
        return value
    return dict(enumerate(value)) if isinstance(value, list) else {}


def key_name(key: str | int) -> str:
    """A key as it is, or in quotes and cut if that is unusual."""
    text = str(key)
    return text if re.fullmatch(r"[\w-]{1,64}", text) else show(text)


def show(value: object) -> str:
    """A value as JSON, cut after 60 characters."""
    text = json.dumps(value, default=str)
    return text if len(text) <= 60 else f"{text[:57]}..."


def one_line(message: object) -> str:
    """A message without line ends, cut after 300 characters."""
    text = " ".join(str(message).split())
    return text if len(text) <= 300 else f"{text[:297]}..."


def all_of(names: Iterable[str]) -> str:
    """Names of the user's choice, the first of them if there are many."""
    shown = [*names]
    more = f" and {len(shown) - 12} more" if len(shown) > 12 else ""
    return ", ".join(shown[:12]) + more


def suggest(word: object, known: Iterable[object]) -> str:
    """The known word that is most like this one, if one is.

    Args:
        word: what the config says.
        known: what it may say.

    Returns:
        A question that follows a refusal, or "".
    """
    near = get_close_matches(str(word), map(str, known), n=1)
    return f"; did you mean {near[0]}?" if near else ""
