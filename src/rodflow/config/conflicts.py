"""Values of a config that are each allowed but do not go together."""

from collections.abc import Iterable, Iterator, Sequence

from rodflow.config.catalogue import DATASETS, FLOWS, MODELS, OPTIMIZERS
from rodflow.config.keys import Config, OptimizerSettings
from rodflow.config.messages import Place, Problem, all_of, show, suggest
from rodflow.config.runs import Options, samples, trains

MOST_RUNS = 10_000
"""Of an experiment, and of one of its sweeps."""


def conflicts(config: Config, options: Options) -> Iterator[Problem]:
    """Those between the data, the models, the optimizers, their flows and the machine."""
    yield from _too_few_images(config)
    yield from _unequal_shares(config, options)
    yield from _unfit_models(config)
    yield from _unknown_models(config)
    yield from _no_run_or_too_many(config)
    for (model, optimizer), own in options.items():
        yield from _of_times(config, model, optimizer, own)
        if model in trains(config, optimizer):
            yield from _missing_flows(config, model, optimizer, own)
        images = samples(config, config.models[model])
        if above(own.batch_size, images):
            text = f"is {own.batch_size}; {model} is trained on {images} images"
            yield _place(config, model, optimizer, "batch_size"), text


def missing_flows(
    optimizer: str, flows: Sequence[str], batch: int | None, images: int
) -> Iterator[str]:
    """Why an optimizer has none of one of the flows.

    Args:
        optimizer: its name.
        flows: their names.
        batch: images in a batch; None: all.
        images: on which it trains.
    """
    of_batches = [name for name in FLOWS if FLOWS[name].batches]
    for flow in flows:
        if batch is not None and flow not in of_batches:
            known = all_of(of_batches)
            text = "a flow follows full batches, but for those of minibatches"
            yield f"has {flow} for {optimizer} with batch_size {batch}; {text}: {known}"
            break
        if flow in of_batches and (batch is None or batch == images):
            text = f"a batch of all {images} images leaves no noise, and the flow models nothing"
            yield f"has {flow} for {optimizer} with batch_size {show(batch)}; {text}: give fewer"
    for flow in flows:
        entry = FLOWS[flow]
        if not entry.supports(optimizer, OPTIMIZERS[optimizer]):
            known = ", ".join(n for n in OPTIMIZERS if entry.supports(n, OPTIMIZERS[n]))
            name = flow.replace("_", " ")
            yield f"has {flow} for {optimizer}; the {name} flow {entry.why}: it exists for {known}"


def too_late(start: int, every: int, steps: int) -> str:
    """What is wrong with a start that leaves no snapshot before the end, or ""."""
    text = f"start + snapshots.every ({start} + {every}) must be at most steps ({steps})"
    return text if start + every > steps else ""


def above(value: object, most: int) -> bool:
    """Whether a value is a number above another; what is no number is refused elsewhere."""
    return isinstance(value, int | float) and value > most


def unknown(name: str, what: str, known: Iterable[str]) -> str:
    """The names that there are, after one that is not among them."""
    known = [*known]
    return f"the {what} are {all_of(known)}{suggest(name, known)}"


def _too_few_images(config: Config) -> Iterator[Problem]:
    dataset = config.dataset.model_dump()
    per_class = DATASETS[config.dataset.name].per_class or 0
    available = per_class * len(dataset.get("classes") or ())
    if 0 < available < dataset["samples"]:
        text = f"is {dataset['samples']}; the chosen classes have {available} images"
        yield ("dataset", "samples"), text


def _unequal_shares(config: Config, options: Options) -> Iterator[Problem]:
    """Devices whose shares are not equal, and more samples at once than a share has."""
    devices, at_once = config.compute.devices, config.compute.samples_at_once
    sizes: list[tuple[str, object]] = []
    for model, network in config.models.items():
        name = "dataset.samples" if network.samples is None else f"models.{model}.samples"
        sizes.append((name, samples(config, network)))
    images = max(samples(config, network) for network in config.models.values())
    sizes += [("batch_size", own.batch_size) for own in options.values()]
    for sweep in config.sweeps.values():
        sizes += [("batch_size", size) for size in sweep.over.get("batch_size", ())]
    for name, size in sizes:  # what is no size is named where it is refused
        if isinstance(size, int | float) and size == int(size) and size > 0 and size % devices:
            fewer = next(n for n in range(min(devices, images), 0, -1) if size % n == 0)
            text = f"is {devices}; it must divide {name}, {size}: {fewer} does"
            yield ("compute", "devices"), text
    if at_once is not None and at_once > images // devices:
        text = (
            f"is {at_once}; a device has {images // devices} samples: give no more, or null for all"
        )
        yield ("compute", "samples_at_once"), text


def _unfit_models(config: Config) -> Iterator[Problem]:
    data = {f"dataset.{key}": value for key, value in config.dataset.model_dump().items()}
    for model, network in config.models.items():
        for relation in MODELS[network.kind].relations:
            if found := relation(network.model_dump() | data):
                yield ("models", model, found[0]), found[1]
        if above(network.samples, config.dataset.samples):
            text = f"is {network.samples}; dataset.samples is {config.dataset.samples}"
            yield ("models", model, "samples"), text


def _unknown_models(config: Config) -> Iterator[Problem]:
    for optimizer, entry in config.optimizers.items():
        for model in entry.models:
            if model not in config.models:
                text = f"is no model; {unknown(model, 'models', config.models)}"
                yield ("optimizers", optimizer, "models", model), text
        for index, model in enumerate(entry.only or ()):
            if model not in config.models:
                text = f"is {show(model)}; {unknown(model, 'models', config.models)}"
                yield ("optimizers", optimizer, "only", index), text


def _no_run_or_too_many(config: Config) -> Iterator[Problem]:
    trained = [name for name in config.optimizers for model in trains(config, name)]
    if not trained and not config.sweeps:
        name = next(iter(config.optimizers))
        text = "is []; no run is left: name a model, or give a sweep of this optimizer"
        yield ("optimizers", name, "only"), text
    if (runs := len(trained) * len(config.seeds)) > MOST_RUNS:
        text = f"has {len(config.seeds)} entries, which makes {runs} runs; at most {MOST_RUNS}"
        yield ("seeds",), text


def _of_times(
    config: Config, model: str, optimizer: str, own: OptimizerSettings
) -> Iterator[Problem]:
    """A start, or a restart, that is not early enough."""
    start, steps, every = own.start, own.steps, config.snapshots.every
    changed = config.optimizers[optimizer].models.get(model, {})
    if text := too_late(start, every, steps):
        key = "steps" if "steps" in changed and "start" not in changed else "start"
        value = steps if key == "steps" else start
        yield _place(config, model, optimizer, key), f"is {value}; {text}"
    elif own.restart is not None and not start + every <= own.restart < steps:
        text = f"it must be from start + snapshots.every ({start} + {every}) to below steps"
        place = _place(config, model, optimizer, "restart")
        yield place, f"is {own.restart}; {text} ({steps})"


def _missing_flows(
    config: Config, model: str, optimizer: str, own: OptimizerSettings
) -> Iterator[Problem]:
    place: Place = ("flows",)
    if own.flows is not None:
        place = _place(config, model, optimizer, "flows")
    flows = config.flows if own.flows is None else own.flows
    images = samples(config, config.models[model])
    for text in missing_flows(optimizer, flows, own.batch_size, images):
        yield place, f"{text}; give {optimizer} flows of its own"


def _place(config: Config, model: str, optimizer: str, key: str) -> Place:
    """Where a setting of an optimizer for a model is given."""
    inner = ("models", model) if key in config.optimizers[optimizer].models.get(model, {}) else ()
    return ("optimizers", optimizer, *inner, key)
