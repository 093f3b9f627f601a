"""Which learning rates a config leaves to the rule of `rodflow.config.rates`, and what its table says of them."""

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from rodflow.config import rates
from rodflow.config.declarations import BY_ONSET
from rodflow.config.experiment import Settings, canonical
from rodflow.config.keys import Compute, Config, OptimizerSettings, Snapshots
from rodflow.config.messages import Place, Problem
from rodflow.config.runs import Options, by_onset, runs, trains


@dataclass(frozen=True)
class Scan:
    """The runs of one model and optimizer whose onsets are looked at.

    Attributes:
        model, optimizer: names in the config.
        length: steps of a whole run.
        settings: of a run, with no learning rate.
        begin: the rate that is tried first.
    """

    model: str
    optimizer: str
    length: int
    settings: Settings
    begin: float

    @property
    def rule(self) -> str:
        """A digest of all that an onset depends on besides the learning rate."""
        constants = [rates.SEED, rates.WINDOW, rates.START, rates.LOOKS]
        text = canonical([self.settings, self.length, constants])
        return hashlib.sha256(text.encode()).hexdigest()[:12]

    def next_rate(self, found: Sequence[rates.Rate]) -> float | None:
        """See `rodflow.config.rates.next_rate`."""
        return rates.next_rate(found, self.begin)

    def at(self, rate: float) -> Settings:
        """The settings of the run with this learning rate."""
        return self.settings | {"optimizer": self.settings["optimizer"] | {"learning_rate": rate}}

    def known(self, config: Config) -> list[rates.Rate]:
        """The rows of the config's table that were made for this scan."""
        return [
            rate
            for rate in config.rates
            if (rate.model, rate.optimizer, rate.rule) == (self.model, self.optimizer, self.rule)
        ]


def scans(config: Config, options: Options) -> Iterator[Scan]:
    """Those of all models and optimizers whose learning rate is chosen by the rule, in the main runs or in a sweep.

    Args:
        config: whose learning rates may not be chosen yet.
        options: how each optimizer trains each model.
    """
    needed = {
        *((model, name) for name in config.optimizers for model in trains(config, name)),
        *((m, name) for s in config.sweeps.values() for m in s.model for name in s.optimizer),
    }
    for (model, optimizer), own in options.items():
        if by_onset(own) and (model, optimizer) in needed:
            yield _scan(config, model, optimizer, own)


def found(config: Config, searches: Iterable[Scan]) -> rates.Rates:
    """The rates that are chosen of each search, none where the threshold is not reached in time.

    Args:
        config: with its table of rates.
        searches: those of the config, see `scans`.
    """
    return {(one.model, one.optimizer): rates.choose(one.known(config)) for one in searches}


def unreached(chosen: rates.Rates, config: Config) -> tuple[str, ...]:
    """Model and optimizer of the main runs that are left out, as no rate reaches its threshold in time.

    Args:
        chosen: the rates of each search.
        config: which says what is trained in the main runs.

    Returns:
        `<model>/<optimizer>` of each.
    """
    return tuple(
        f"{model}/{optimizer}"
        for (model, optimizer), some in chosen.items()
        if not some and model in trains(config, optimizer)
    )


def with_rates(options: Options, chosen: rates.Rates) -> Options:
    """Options with the middle one of the chosen rates; those without a rate are left out.

    Args:
        options: how each optimizer trains each model.
        chosen: the rates of each search. Where there is no search a rate stays as it is.
    """
    return {
        place: own.model_copy(update={"learning_rate": rates.middle(chosen[place])})
        if chosen.get(place)
        else own
        for place, own in options.items()
        if chosen.get(place) or not by_onset(own)
    }


def unfinished(config: Config, searches: Iterable[Scan]) -> Iterator[Problem]:
    """Searches that the config's table has not, or not to their end.

    Args:
        config: with its table of rates.
        searches: those of the config, see `scans`.

    Yields:
        The place of each such learning rate, and what is missing.
    """
    for scan in searches:
        if scan.next_rate(scan.known(config)) is not None:
            text = f"is {BY_ONSET}; the table has no complete search for {scan.model} with these settings"
            place: Place = ("optimizers", scan.optimizer, "learning_rate")
            yield place, f"{text}: run rodflow choose with this config"


def bad_times(config: Config, options: Options) -> Iterator[Problem]:
    """What the rule does not allow: lengths, seeds, and optimizers without a threshold.

    Args:
        config: whose every key is right by itself.
        options: how each optimizer trains each model.

    Yields:
        The place of each, and what is wrong there.
    """
    for (model, optimizer), own in options.items():
        if by_onset(own):
            yield from _bad_times(config, model, optimizer)
    if any(map(by_onset, options.values())) and rates.SEED in config.seeds:
        text = f"has {rates.SEED}, the seed of the runs by which rates are chosen; give others"
        yield ("seeds",), text


def _bad_times(config: Config, model: str, optimizer: str) -> Iterator[Problem]:
    entry = config.optimizers[optimizer]
    of_model: Mapping[str, object] = entry.models.get(model, {})
    if not config.declared(optimizer).linear:
        text = f"is {BY_ONSET}; {optimizer} has no threshold: give a number"
        yield ("optimizers", optimizer, "learning_rate"), text
    if config.models[model].steps is None:
        yield ("models", model, "steps"), f"is missing; {optimizer} has learning_rate {BY_ONSET}"
    for key in ("start", "steps"):
        if key in of_model or key in entry.model_fields_set:
            inner = ("models", model) if key in of_model else ()
            value = of_model.get(key, getattr(entry, key))
            text = f"is {value}; with learning_rate {BY_ONSET} it follows from models.{model}.steps"
            yield ("optimizers", optimizer, *inner, key), text


def _scan(config: Config, model: str, optimizer: str, own: OptimizerSettings) -> Scan:
    """The settings are those of a run that ends with the window."""
    length = own.steps
    looked_at = config.model_copy(
        update={
            "seeds": [rates.SEED],
            "snapshots": Snapshots(every=max(1, length // rates.LOOKS)),
            "compute": Compute(),
        }
    )
    short = {"steps": round(rates.WINDOW[1] * length), "learning_rate": rates.BASE}
    (run,) = runs(looked_at, model, optimizer, own.model_copy(update=short))
    without = run.settings["optimizer"] | {"learning_rate": None}
    begin = rates.BEGIN[config.declared(optimizer).adaptive]
    return Scan(model, optimizer, length, run.settings | {"optimizer": without}, begin)
