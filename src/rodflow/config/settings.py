"""From a config file to a validated, fully resolved experiment, without importing JAX.

    experiment = resolve(load("config.yaml"))
    experiment.run("mlp/adam/seed0").settings["optimizer"]["b2"]

What a config may say is in `rodflow.config.schema`, what does not go together in `rodflow.config.conflicts`.
`python -m rodflow.config.settings config.yaml` prints what a config resolves to.
"""

import argparse
import itertools
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from pydantic import ValidationError

from rodflow.config import scans, schema
from rodflow.config.conflicts import conflicts, unfit_files
from rodflow.config.describing import describe
from rodflow.config.experiment import Experiment
from rodflow.config.keys import Config
from rodflow.config.messages import ConfigError, Place, Problem, explain, key_name, refuse, show
from rodflow.config.reading import MOST_VALUES, load
from rodflow.config.runs import criterion, dataset, main_runs, options
from rodflow.config.sweeps import bad_sweeps, sweep
from rodflow.config.written import Written, found_in
from rodflow.errors import RodflowError

__all__ = ["ConfigError", "describe", "load", "main", "resolve"]

_DEEPEST = 20  # levels of nesting; a config has six
_LARGEST = 2**63  # what other readers of the JSON settings can hold


def resolve(config: Mapping[str, object], folder: str | Path = "") -> Experiment:
    """The experiment that a config describes, checked and with every default filled in.

    Args:
        config: as `load` reads it.
        folder: where it is: files and code of one's own that it names are relative to that.

    Relations between keys (``start`` within ``steps``, ``heads`` dividing ``width``) are looked at
    once every key is right by itself.

    Raises:
        ConfigError: names the first problem in the order of the config and counts the others.
    """
    given, searches = scanned(config, folder)
    refuse(scans.unfinished(given, searches), config)
    rates = scans.found(given, searches)
    chosen = scans.with_rates(options(given), rates)
    runs = main_runs(given, chosen)
    experiment = Experiment(
        name=given.name,
        dataset=dataset(given),
        criterion=criterion(given),
        runs=runs,
        sweeps=tuple(sweep(given, chosen, rates, name, runs) for name in given.sweeps),
        unreached=scans.unreached(rates, given),
        replicas=given.replicas,
        compute=given.compute.model_dump(),
        sharpness=given.sharpness.model_dump(),
        figures=tuple(given.figures),
    )
    if not experiment.all_runs:
        raise ConfigError(
            "optimizers has nothing to run: by the table no rate of the grid reaches its threshold in time; write a "
            "number for learning_rate, or give the models more steps and run rodflow choose"
        )
    return experiment


def main(arguments: Sequence[str] | None = None) -> int:
    """Print what a config resolves to, or in one line why it does not (exit status 1).

    Raises:
        SystemExit: the arguments cannot be read (2), or help was asked for (0).
    """
    parser = argparse.ArgumentParser(
        prog="python -m rodflow.config.settings", description=main.__doc__
    )
    parser.add_argument("config", type=Path, help="the YAML file of an experiment")
    parser.add_argument("--quiet", action="store_true", help="print nothing if it is right")
    options = parser.parse_args(arguments)
    path = options.config
    try:
        config = load(path)
        try:
            described = describe(resolve(config, path.parent))
        except ConfigError as error:
            raise ConfigError(f"{path}: {error}") from error
    except RodflowError as error:  # or a declaration that cannot be read
        print(error, file=sys.stderr)
        return 1
    if not options.quiet:
        print(described)
    return 0


def scanned(
    config: Mapping[str, object], folder: str | Path = ""
) -> tuple[Config, list[scans.Scan]]:
    """A config whose learning rates may not be chosen yet, and the searches that choose them.

    Args:
        config, folder: as for `resolve`.

    Raises:
        ConfigError: the config is wrong in something else than its table of rates.
    """
    problems: list[Problem] = []
    plain = _plain(config, (), problems, itertools.count())
    plain, written, bad = found_in(plain, Path(folder), schema.rate())
    refuse([*problems, *bad] if bad else (), plain)
    given = _checked(plain, problems, written)
    given.written = written
    asked = options(given)
    refuse([*unfit_files(given)], plain)
    wrong = (conflicts(given, asked), bad_sweeps(given, asked), scans.bad_times(given, asked))
    refuse(itertools.chain(*wrong), plain)
    return given, [*scans.scans(given, asked)]


def _checked(plain: object, problems: Sequence[Problem], written: Written) -> Config:
    """A config whose every key is right by itself.

    Raises:
        ConfigError: one is not, or there are problems already.
    """
    form = schema.config(written)
    try:
        found = form.validate_python(plain)
    except ValidationError as error:
        rules = schema.rules(form)
        refuse([*problems, *(explain(one, rules, plain) for one in error.errors())], plain)
        raise
    refuse(problems, plain)
    return found


def _plain(value: object, place: Place, problems: list[Problem], count: Iterator[int]) -> object:
    """`value` as JSON has it (dict, list, scalars); what JSON cannot hold joins `problems`."""
    if len(place) > _DEEPEST:
        problems.append((place, "is nested too deeply"))
        return None
    if next(count) > MOST_VALUES:
        owner = key_name(place[0]) if place else "the config"
        raise ConfigError(f"{owner} is too large; a config has at most {MOST_VALUES} values")
    if isinstance(value, Mapping):
        for key in value:
            if not isinstance(key, str):
                problems.append(((*place, str(key)), "is not a text key; write it in quotes"))
            elif not _whole_text(key):
                problems.append(((*place, key), "is no key; it has half a character"))
        usual = {str(key): inner for key, inner in value.items() if _whole_text(str(key))}
        return {key: _plain(v, (*place, key), problems, count) for key, v in usual.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item, (*place, i), problems, count) for i, item in enumerate(value)]
    if isinstance(value, str) and not _whole_text(value):
        problems.append((place, f"is {show(value)}; it has half a character"))
        return None
    if isinstance(value, (int, float)) and not -_LARGEST < value < _LARGEST:
        shown = value if isinstance(value, float) else "beyond 64 bits"
        problems.append((place, f"is {shown}; a number must be finite and below 2^63"))
        return None
    return value


def _whole_text(text: str) -> bool:
    r"""Whether a text can be stored: YAML's "\ud800" is half of a pair that means one character."""
    return not any("\ud800" <= sign <= "\udfff" for sign in text)


if __name__ == "__main__":
    sys.exit(main())
