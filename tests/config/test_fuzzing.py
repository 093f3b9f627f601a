"""Malformed configs, thousands in the long suite: each is refused in one line that names a key, or can be run."""

import copy
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rodflow.config import plan
from rodflow.config.experiment import Experiment
from rodflow.config.schema import config as form
from rodflow.config.schema import rules
from rodflow.config.settings import ConfigError, describe, load, resolve

REPOSITORY = Path(__file__).parents[2]
CONFIGS = {
    path.name: load(path)
    for path in [
        REPOSITORY / "config.yaml",
        *sorted((REPOSITORY / "config").glob("*.yaml")),
    ]
}
RULES = rules(form())
KEYS = [*RULES["properties"]]
LONGEST = 1000
"""Characters of a message; a name of the user's in it is cut."""

FOLDER_NAME = 255
"""Bytes that a file system allows for the name of a file or folder."""


# What is asked of every config


def outcome(config: Any) -> str:
    """The words with which a config is refused, which are checked, or "" for one that can be run."""
    try:
        experiment = resolve(config)
    except ConfigError as error:
        message = str(error)
        assert len(message.splitlines()) == 1 and len(message) <= LONGEST, message
        assert named_key(message) in known_keys(config), message
        return message
    check_that_it_can_be_run(experiment)
    return ""


def named_key(message: str) -> str:
    """The outermost key of the place that a message begins with."""
    found = re.match(
        r'(the config|"(?:[^"\\]|\\.)*"|"(?:[^"\\]|\\.)*?\.\.\.|[\w-]+)(?=[. ])', message
    )
    assert found, message
    return found[1]


def known_keys(config: Any) -> set[str]:
    """The keys that a message about a config may name first, as it writes them."""
    if not isinstance(config, dict):
        return {"the config"}
    given = {str(key) for key in config}
    plain = {key for key in given if re.fullmatch(r"[\w-]{1,64}", key)}
    quoted = {json.dumps(key) for key in given - plain}
    cut = {text if len(text) <= 60 else f"{text[:57]}..." for text in quoted}
    return {*KEYS, "the config"} | plain | cut


def check_that_it_can_be_run(experiment: Experiment) -> None:
    runs = experiment.all_runs
    assert runs
    assert len({run.path for run in runs}) == len(runs)
    for run in runs:
        assert json.loads(json.dumps(run.settings, allow_nan=False)) == run.settings
        start, steps, every = (
            run.settings["start"],
            run.settings["steps"],
            run.settings["snapshots"]["every"],
        )
        assert 1 <= start <= start + every <= steps
        assert run.restart is None or run.restart in range(start + every, steps, every)
    files = plan.expected_files(experiment)
    assert all(len(part) <= FOLDER_NAME - 20 for path in files for part in path.split("/"))
    stems = [figure.stem for figure in plan.figures(experiment)]
    assert len(set(stems)) == len(stems)
    batched = [run for batch in plan.batches(experiment) for run in batch]
    assert {run for sweep in experiment.sweeps for run in sweep.runs} == {*batched}
    assert describe(experiment)


# What is done to a config

WORDS = sorted(
    {
        *re.findall(r"[a-z]\w+", json.dumps(RULES)),
        *("5e-3", "1e400", "0x10", "1_000", "null", "~", "<<", "*", "..", "a/b", "ü", "\0", "\n"),
        *("\ud800", "x" * 300, "mlp.hidden", "con", "summary", "figures", "-", ""),
    }
)
NUMBERS = [0, 1, 2, -1, 3, 7, 8, 10, 64, 2**31, 2**32, 2**53 + 1, 2**63 - 1, 2**63, 10**400]
NUMBERS += [0.0, -0.0, 0.5, 1.0, 1 - 2**-53, 5e-324, 1e-300, 1e308, -1e308, 1e16, 2.5]
NUMBERS += [float("nan"), float("inf"), float("-inf")]
SCALARS = (
    st.none()
    | st.booleans()
    | st.sampled_from(NUMBERS)
    | st.sampled_from(WORDS)
    | st.integers()
    | st.floats()
    | st.text(max_size=6)
    | st.binary(max_size=3)
    | st.dates()
)  # fmt: skip
KEY = st.sampled_from(WORDS) | st.text(max_size=4) | SCALARS
VALUES = SCALARS | st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(KEY, inner, max_size=3)
        | st.sets(SCALARS, max_size=2)
    ),
    max_leaves=5,
)


def places(value: Any) -> list[tuple]:
    """The path to every value in a nested config, the config itself left out."""
    items = value.items() if isinstance(value, dict) else enumerate(value)
    found = []
    for key, item in items:
        found.append((key,))
        if isinstance(item, (dict, list)):
            found.extend((key, *rest) for rest in places(item))
    return found


def at(config: Any, place: tuple) -> Any:
    for key in place:
        config = config[key]
    return config


def put(draw: Callable, config: dict, place: tuple) -> None:
    at(config, place[:-1])[place[-1]] = draw(VALUES)


def delete(draw: Callable, config: dict, place: tuple) -> None:
    del at(config, place[:-1])[place[-1]]


def rename(draw: Callable, config: dict, place: tuple) -> None:
    parent, value = at(config, place[:-1]), at(config, place)
    delete(draw, config, place)
    insert_into(parent, draw(KEY), value)


def add(draw: Callable, config: dict, place: tuple) -> None:
    insert_into(at(config, place[:-1]), draw(KEY), draw(VALUES))


def move(draw: Callable, config: dict, place: tuple) -> None:
    """What stands at one place, at another one as well."""
    other = draw(st.sampled_from(places(config)))
    at(config, place[:-1])[place[-1]] = copy.deepcopy(at(config, other))


def retype(draw: Callable, config: dict, place: tuple) -> None:
    """The same value as something else: text, a list of it, its keys, a float."""
    value = at(config, place)
    others: list[Any] = [str(value), [value], {"a": value}, (value, value), bool(value)]
    if isinstance(value, dict):
        others += [[*value], [*value.values()], value | {3: 4}]
    if isinstance(value, list):
        others += [value * 2, value[:0], value[:1], dict(enumerate(value)), [value]]
    if isinstance(value, (int, float)):
        others += [float(value), -value, value * 10**6, value / 10**6, value + 1e-15, repr(value)]
    at(config, place[:-1])[place[-1]] = draw(st.sampled_from(others))


def near(draw: Callable, config: dict, place: tuple) -> None:
    """One more in a list, or another number where there is one: a change that is often allowed."""
    value = at(config, place)
    if isinstance(value, list) and value:
        value.append(draw(st.sampled_from(value) | SCALARS))
    elif isinstance(value, (int, float)) and not isinstance(value, bool):
        at(config, place[:-1])[place[-1]] = draw(
            st.sampled_from([1, 2, 3, 5, 40, 300, 0.1, 0.9, 0.3000000000000001, 0.3, value])
        )
    else:
        put(draw, config, place)


def insert_into(parent: Any, key: Any, value: Any) -> None:
    if isinstance(parent, dict):
        parent[key] = value
    else:
        parent.append(value)


ANY = [put, delete, rename, add, move, retype, near]


@st.composite
def mutated(draw: Callable, mutations: list[Callable], most: int) -> Any:
    """A config of the repository after one or more mutations."""
    config = copy.deepcopy(CONFIGS[draw(st.sampled_from(sorted(CONFIGS)))])
    for _ in range(draw(st.integers(1, most))):
        if not (found := places(config)):
            break
        draw(st.sampled_from(mutations))(draw, config, draw(st.sampled_from(found)))
    return config


FUZZ = settings(deadline=None, database=None, suppress_health_check=[*HealthCheck])
MALFORMED, UNUSUAL = mutated(ANY, 4), mutated([near, near, near, delete, move], 2)


@settings(FUZZ, max_examples=60)
@given(MALFORMED)
def test_a_malformed_config_is_refused_with_a_key_or_can_be_run(config: Any) -> None:
    outcome(config)


@settings(FUZZ, max_examples=20)
@given(UNUSUAL)
def test_an_unusual_config_is_refused_with_a_key_or_can_be_run(config: Any) -> None:
    outcome(config)


@pytest.mark.slow
@settings(FUZZ, max_examples=5_000)
@given(MALFORMED | UNUSUAL)
def test_five_thousand_configs(config: Any) -> None:
    outcome(config)


# What is done to its text

TEXTS = [
    (REPOSITORY / "config" / name).read_bytes()
    for name in ("smoke.yaml", "adam.yaml", "k-adam.yaml")
]
JUNK = [
    *(b"\t", b"\xff", b"\xc3", b"\x00", b"\x1b", b"\xe2\x80\xa8", b"\xef\xbb\xbf", b"\r", b"\n"),
    *(
        b"- ",
        b"? ",
        b": ",
        b"{",
        b"}",
        b"[",
        b"]",
        b",",
        b"#",
        b"&a ",
        b"*a",
        b"<<: *a",
        b"!!",
        b"|",
    ),
    *(b"!!bool x", b"!!int x", b"!!binary x", b"!!timestamp x", b"!!set {a, b}", b"!!omap [a: 1]"),
    *(b"!!python/name:os.system", b"!other ", b"%YAML 9.9\n", b"---\n", b"...\n", b'"', b"'"),
    *(
        b"9" * 5000,
        b"0b_",
        b"2020-99-99",
        b"1:99:99",
        b"name: b\n",
        b"\n  ",
        b"[" * 300,
        b"{" * 300,
    ),
    b"&a [*a, *a]",
]


@st.composite
def garbled(draw: Callable) -> bytes:
    """The text of a config with junk in it, lines twice or missing, or cut short."""
    text = draw(st.sampled_from(TEXTS) | st.sampled_from([b"", b"name: a\n", b"3\n", b"- a\n"]))
    for _ in range(draw(st.integers(1, 3))):
        lines = text.splitlines(keepends=True) or [b""]
        index = draw(st.integers(0, len(lines) - 1))
        line = lines[index]
        column = draw(st.integers(0, len(line)))
        junk = draw(st.sampled_from(JUNK) | st.binary(max_size=4))
        changed = [
            [line, line],
            [],
            [line[:column]],
            [line[:column] + junk + line[column:]],
            [line[:column] + junk + b"\n"],
            [line.partition(b":")[0] + b": " + junk + b"\n"],
        ]
        lines[index : index + 1] = draw(st.sampled_from(changed))
        text = b"".join(lines)
    return text


@settings(FUZZ, max_examples=20)
@given(text=garbled())
def test_a_garbled_file_is_refused_by_its_name_or_read(text: bytes, folder: Path) -> None:
    refused_or_read(text, folder)


@pytest.mark.slow
@settings(FUZZ, max_examples=2000)
@given(text=garbled())
def test_two_thousand_garbled_files(text: bytes, folder: Path) -> None:
    refused_or_read(text, folder)


def refused_or_read(text: bytes, folder: Path) -> None:
    path = folder / "garbled.yaml"
    path.write_bytes(text)
    try:
        config = load(path)
    except ConfigError as error:
        message = str(error)
        assert re.match(rf"{re.escape(str(path))}(, line \d+)?: \S", message), message
        assert len(message.splitlines()) == 1 and len(message) <= LONGEST + len(str(path))
        return
    outcome(config)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("garbled")
