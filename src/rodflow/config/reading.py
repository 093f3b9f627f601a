"""A config file as plain values: read with limits on its size, and refused in one line with the number of the line."""

import itertools
import math
from pathlib import Path

import yaml

from rodflow.config.experiment import Settings
from rodflow.config.messages import ConfigError, key_name, one_line, show
from rodflow.config.rates import read, table_of

MOST_VALUES = 20_000
"""In a config, aliases written out; the largest of ours has 250."""


def load(path: str | Path) -> Settings:
    """The mapping in a YAML file, not yet checked, with the table of learning rates beside it, if there is one.

    Raises:
        ConfigError: the file cannot be read, is not YAML, repeats a key or holds no mapping, or the table is none.
    """
    config = _read(path)
    table = table_of(Path(path))
    if table.is_file():
        config = {**config, "rates": [rate.model_dump() for rate in read(table)]}
    return config


def _read(path: str | Path) -> Settings:
    try:
        config = parse(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from error
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = f", line {mark.line + 1}" if mark else ""
        raise ConfigError(f"{path}{line}: {one_line(error.problem or error)}") from error
    except RecursionError as error:
        raise ConfigError(f"{path}: nested too deeply") from error
    except (yaml.YAMLError, ValueError) as error:  # no YAML characters, or no UTF-8
        raise ConfigError(f"{path}: {one_line(error)}") from error
    if config is None:
        raise ConfigError(f"{path}: is empty; it must be a mapping of keys to settings")
    if not isinstance(config, dict):
        raise ConfigError(f"{path}: must be a mapping of keys to settings")
    return config


class _Loader(yaml.SafeLoader):
    """YAML's safe loader, which names the line of a value that is not what its tag or form says."""

    def construct_object(self, node: yaml.Node, deep: bool = False) -> object:
        try:
            return super().construct_object(node, deep)
        except (yaml.YAMLError, RecursionError):
            raise
        except Exception as error:  # ValueError of 2020-99-99, KeyError of !!bool x, and others
            value = show(node.value if isinstance(node, yaml.ScalarNode) else node.id)
            kind = key_name(node.tag.rpartition(":")[2])
            text = f"{value} cannot be read as {kind}; write text in quotes"
            raise yaml.MarkedYAMLError(problem=text, problem_mark=node.start_mark) from error


def parse(text: str) -> object:
    """The value of a YAML document in which no mapping repeats a key and no alias multiplies the size.

    Raises:
        yaml.YAMLError: it is not YAML, holds several documents, repeats a key or stands for more than `MOST_VALUES`
            values.
        RecursionError: it is nested too deeply.
    """
    loader = _Loader(text)
    try:
        root = loader.get_single_node()
        if root is None:
            return None
        _refuse_repeated_keys(root, set())
        if _size(root, {}) > MOST_VALUES:
            text = f"is too large; a config has at most {MOST_VALUES} values, aliases written out"
            raise yaml.MarkedYAMLError(problem=text, problem_mark=root.start_mark)
        return loader.construct_document(root)
    finally:
        loader.dispose()


def _size(node: yaml.Node, known: dict[int, float]) -> float:
    """How many values a node stands for; infinitely many if it holds itself."""
    if not isinstance(node, yaml.CollectionNode):
        return 1
    if id(node) not in known:
        known[id(node)] = math.inf
        parts = itertools.chain(*node.value) if isinstance(node, yaml.MappingNode) else node.value
        known[id(node)] = 1 + sum(_size(part, known) for part in parts)
    return known[id(node)]


def _refuse_repeated_keys(node: yaml.Node, seen: set[int]) -> None:
    if id(node) in seen or not isinstance(node, yaml.CollectionNode):
        return
    seen.add(id(node))
    if isinstance(node, yaml.MappingNode):
        keys: set[str] = set()
        for key, value in node.value:
            name = str(key.value)
            if name in keys:
                text = f"{key_name(name)} is given twice"
                raise yaml.MarkedYAMLError(problem=text, problem_mark=key.start_mark)
            keys.add(name)
            _refuse_repeated_keys(value, seen)
    else:
        for item in node.value:
            _refuse_repeated_keys(item, seen)
