"""Changes to a config that come from a command line, where every value may be text."""

from collections.abc import Mapping

import yaml

from rodflow.config.reading import parse


def changed(config: Mapping[str, object], changes: Mapping[str, object]) -> dict[str, object]:
    """A config with other values; `config` itself stays as it is.

    Args:
        config: not yet checked.
        changes: by key. A key with dots, as "optimizers.adam.steps", leads into mappings. A mapping changes the keys
            that it has and leaves the others, as Snakemake does; any other value replaces what is there. Text is read
            as YAML wherever it stands, so that "2" is a number and "[1, 2]" a list.
    """
    result = {**config}
    for path, given in changes.items():
        key, _, rest = path.partition(".")
        before = result.get(key)
        value = {rest: given} if rest else _read(given)
        if isinstance(value, Mapping) and (rest or isinstance(before, Mapping)):
            value = changed(before if isinstance(before, Mapping) else {}, value)
        result[key] = value
    return result


def _read(value: object) -> object:
    if isinstance(value, Mapping):
        return {str(key): _read(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_read(entry) for entry in value]
    if not isinstance(value, str) or not value.strip():
        return value
    try:
        return parse(value)
    except (yaml.YAMLError, ValueError, RecursionError):
        return value  # such as "a: b: c", which is refused where it stands
