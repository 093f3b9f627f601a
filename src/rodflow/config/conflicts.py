"""Values of a config that are each allowed but do not go together."""

from collections.abc import Iterable, Iterator, Sequence

from rodflow.config.catalogue import DATASETS, FLOWS, MODELS, OPTIMIZERS
from rodflow.config.declarations import Optimizer, any_optimizer
from rodflow.config.keys import Config, OptimizerSettings
from rodflow.config.messages import Place, Problem, all_of, show, suggest
from rodflow.config.paths import PathError, placed
from rodflow.config.reference import OwnError, file_digest, is_own
from rodflow.config.runs import Options, own_files, samples, trains

MOST_RUNS = 10_000
"""Of an experiment, and of one of its sweeps."""


def conflicts(config: Config, options: Options) -> Iterator[Problem]:
    """Those between the data, the models, the optimizers, their flows and the machine.

    Args:
        config: whose every key is right by itself.
        options: how each optimizer trains each model.

    Yields:
        The place of each, and what is wrong there.
    """
    yield from _too_few_images(config)
    yield from _unequal_shares(config, options)
    yield from _unfit_models(config)
    yield from _unknown_models(config)
    yield from _no_run_or_too_many(config)
    for (model, optimizer), chosen in options.items():
        yield from _of_times(config, model, optimizer, chosen)
        yield from _long_warmup(config, optimizer, chosen)
        if model in trains(config, optimizer):
            yield from _missing_flows(config, model, optimizer, chosen)
        images = samples(config, config.models[model])
        if chosen.batch_size is not None and images is None:
            text = f"is {chosen.batch_size}; give dataset.samples too, the number of the data set's samples"
            yield _place(config, model, optimizer, "batch_size"), text
        elif above(chosen.batch_size, images):
            text = f"is {chosen.batch_size}; {model} is trained on {images} images"
            yield _place(config, model, optimizer, "batch_size"), text


def unfit_files(config: Config) -> Iterator[Problem]:
    """Files of one's own that are not there, and home folders of others that are not."""
    name = config.dataset.name
    for index, file in enumerate(own_files(config)):
        try:
            file_digest(config.written.folder, file)
        except (OwnError, PathError) as error:
            place: Place = ("files", index) if is_own(name) else (name,)
            yield ("dataset", *place), f"is {show(file)}; {error}"
    for key in () if is_own(name) else DATASETS[name].places:
        given = getattr(config.dataset, key)
        try:
            placed(given or "")
        except PathError as error:
            yield ("dataset", key), f"is {show(given)}; {error}"


def missing_flows(
    optimizer: str,
    declared: Optimizer,
    flows: Sequence[str],
    batch: int | None,
    images: int | None,
) -> Iterator[str]:
    """Why an optimizer has none of one of the flows.

    Args:
        optimizer: its name.
        declared: its declaration.
        flows: their names.
        batch: images in a batch; None: all.
        images: on which it trains; None where the config does not say.
    """
    of_batches = [name for name in FLOWS if FLOWS[name].batches]
    for flow in flows:
        if batch is not None and flow not in of_batches:
            known = all_of(of_batches)
            text = "a flow follows full batches, but for those of minibatches"
            yield f"has {flow} for {optimizer} with batch_size {batch}; {text}: {known}"
            break
        if flow in of_batches and (batch is None or batch == images):
            every = "all" if images is None else f"all {images}"
            text = f"a batch of {every} images leaves no noise, and the flow models nothing"
            yield f"has {flow} for {optimizer} with batch_size {show(batch)}; {text}: give fewer"
    for flow in flows:
        entry = FLOWS[flow]
        if declared.scheduled and entry.supports is not any_optimizer:
            name = flow.replace("_", " ")
            yield f"has {flow} for {optimizer}; the {name} flow has no learning rate that changes in time"
        elif "python" in declared.hyperparameters and entry.supports is not any_optimizer:
            name = flow.replace("_", " ")
            yield f"has {flow} for {optimizer}, which is your own; the {name} flow {entry.why}"
        elif not entry.supports(optimizer, declared):
            known = ", ".join(n for n in OPTIMIZERS if entry.supports(n, OPTIMIZERS[n]))
            name = flow.replace("_", " ")
            yield f"has {flow} for {optimizer}; the {name} flow {entry.why}: it exists for {known}"


def too_late(start: int, every: int, steps: int) -> str:
    """What is wrong with a start that leaves no snapshot before the end, or "".

    Args:
        start: the step at which the flows start.
        every: steps from one snapshot to the next.
        steps: the length of the run.
    """
    text = f"start + snapshots.every ({start} + {every}) must be at most steps ({steps})"
    return text if start + every > steps else ""


def above(value: object, most: int | None) -> bool:
    """Whether a value is a number above another; what is no number is refused elsewhere.

    Args:
        value: what a config gives.
        most: the largest that is allowed; None: there is no limit.
    """
    return most is not None and isinstance(value, int | float) and value > most


def unknown(name: str, what: str, known: Iterable[str]) -> str:
    """The names that there are, after one that is not among them.

    Args:
        name: what the config says.
        what: the kind of things that it should name, in the plural.
        known: the names that there are.
    """
    known = [*known]
    return f"the {what} are {all_of(known)}{suggest(name, known)}"


def _too_few_images(config: Config) -> Iterator[Problem]:
    dataset = config.dataset.model_dump()
    name = config.dataset.name
    per_class = 0 if is_own(name) else DATASETS[name].per_class or 0
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
    known = [n for network in config.models.values() if (n := samples(config, network))]
    if not known:
        if devices > 1:
            text = f"is {devices}; give dataset.samples too, which it must divide"
            yield ("compute", "devices"), text
        return
    images = max(known)
    sizes += [("batch_size", chosen.batch_size) for chosen in options.values()]
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
    name = config.dataset.name
    if config.criterion == "mse" and not is_own(name) and DATASETS[name].gives == "text":
        text = f"is mse; the targets of {name} are whole numbers: take cross_entropy"
        yield ("criterion",), text
    data = {f"dataset.{key}": value for key, value in config.dataset.model_dump().items()}
    for model, network in config.models.items():
        kind = network.kind
        yield from _other_data(config, model, kind)
        for relation in () if is_own(kind) else MODELS[kind].relations:
            if found := relation(network.model_dump() | data):
                yield ("models", model, found[0]), found[1]
        if config.dataset.samples and above(network.samples, config.dataset.samples):
            text = f"is {network.samples}; dataset.samples is {config.dataset.samples}"
            yield ("models", model, "samples"), text


def _other_data(config: Config, model: str, kind: str) -> Iterator[Problem]:
    """A model for other data than there are; of one's own, neither says what it is for."""
    name = config.dataset.name
    if is_own(kind) or is_own(name):
        return
    gives, takes = DATASETS[name].gives, MODELS[kind].takes
    if gives not in (*takes, "arrays"):
        fitting = [one for one in MODELS if gives in MODELS[one].takes]
        text = f"is {kind}, which takes {' or '.join(takes)}; {name} has {gives}: {', '.join(fitting)} takes that"
        yield ("models", model, "kind"), text


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
    config: Config, model: str, optimizer: str, chosen: OptimizerSettings
) -> Iterator[Problem]:
    """A start, or a restart, that is not early enough."""
    start, steps, every = chosen.start, chosen.steps, config.snapshots.every
    changed = config.optimizers[optimizer].models.get(model, {})
    if text := too_late(start, every, steps):
        key = "steps" if "steps" in changed and "start" not in changed else "start"
        value = steps if key == "steps" else start
        yield _place(config, model, optimizer, key), f"is {value}; {text}"
    elif chosen.restart is not None and not start + every <= chosen.restart < steps:
        text = f"it must be from start + snapshots.every ({start} + {every}) to below steps"
        place = _place(config, model, optimizer, "restart")
        yield place, f"is {chosen.restart}; {text} ({steps})"


def _long_warmup(config: Config, optimizer: str, chosen: OptimizerSettings) -> Iterator[Problem]:
    """A learning rate that has not risen when it should have fallen."""
    if config.declared(optimizer).scheduled:
        rate = chosen.model_dump()["learning_rate"]
        warmup, steps = rate.get("warmup", 0), rate.get("steps") or chosen.steps
        if warmup >= steps:
            text = f"is {warmup}; it must be below the schedule's steps ({steps})"
            yield ("optimizers", optimizer, "learning_rate", "warmup"), text


def _missing_flows(
    config: Config, model: str, optimizer: str, chosen: OptimizerSettings
) -> Iterator[Problem]:
    place: Place = ("flows",)
    if chosen.flows is not None:
        place = _place(config, model, optimizer, "flows")
    flows = config.flows if chosen.flows is None else chosen.flows
    images = samples(config, config.models[model])
    declared = config.declared(optimizer)
    for text in missing_flows(optimizer, declared, flows, chosen.batch_size, images):
        yield place, f"{text}; give {optimizer} flows of its own"


def _place(config: Config, model: str, optimizer: str, key: str) -> Place:
    """Where a setting of an optimizer for a model is given."""
    inner = ("models", model) if key in config.optimizers[optimizer].models.get(model, {}) else ()
    return ("optimizers", optimizer, *inner, key)
