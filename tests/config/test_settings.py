"""The config layer: what resolves to what, and what is refused with which words."""

import copy
import itertools
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from rodflow.config.catalogue import OPTIMIZERS
from rodflow.config.experiment import Experiment
from rodflow.config.settings import ConfigError, load, main, resolve

ROOT = Path(__file__).parents[2]
CONFIGS = [ROOT / "config.yaml", *sorted((ROOT / "config").glob("*.yaml"))]
SMALLEST = """
name: smallest
models: {mlp: {kind: mlp}}
optimizers: {gd: {learning_rate: 0.1}}
"""
FULL = """
name: full
dataset: {name: cifar10, samples: 4000, classes: [cat, dog], size: 16, archive: cifar.tar.gz}
criterion: cross_entropy
models:
  mlp: {kind: mlp, hidden: [32, 32], activation: relu}
  cnn: {kind: cnn, channels: [8, 16], activation: tanh}
  vit: {kind: vit, width: 16, depth: 2, heads: 2, patch: 4}
optimizers:
  gd: {learning_rate: 0.1, start: 20, steps: 1000}
  nesterov: {learning_rate: 0.5, momentum: 0.9}
  rmsprop: {learning_rate: 0.001, b2: 0.99, eps: 1.0e-8}
  adam: {learning_rate: 0.005, b1: 0.9, steps: 600, models: {cnn: {learning_rate: 1, steps: 90}}}
seeds: [0, 7]
flows: [stable, rod]
snapshots: {every: 5}
sharpness: {count: 2, tolerance: 1.0e-4, every: 3}
figures: [tracking]
sweeps:
  rates: {model: mlp, optimizer: adam, over: {learning_rate: [0.01, 0.005], b1: [0.5]}}
"""


BILLION_LAUGHS = b"".join(
    f"{new}: &{new} [{', '.join([f'*{old}'] * 10)}]\n".encode()
    for old, new in itertools.pairwise("abcdefghij")
)


def parsed(text: str) -> dict[str, Any]:
    """A YAML text as the value it stands for."""
    return yaml.safe_load(text)


def changed(change: str, base: str = FULL) -> dict[str, Any]:
    """`base` with one value replaced: ``"dotted.path: value"`` in YAML."""
    config = parsed(base)
    path, value = next(iter(yaml.safe_load(change).items()))
    *parents, last = path.split(".")
    place = config
    for key in parents:
        place = place.setdefault(key, {})
    place[last] = value
    return config


def refusal(config: Any) -> str:
    """The message with which a config is refused."""
    with pytest.raises(ConfigError) as caught:
        resolve(config)
    return str(caught.value)


# What resolves


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.name)
def test_the_configs_of_the_repository_resolve(path: Path) -> None:
    assert resolve(load(path), path.parent).all_runs


def test_the_default_config_trains_with_the_nine_optimizers_of_theory() -> None:
    assert {run.optimizer for run in resolve(load(ROOT / "config.yaml")).runs} == set(
        (*OPTIMIZERS,)[:9]
    )


def test_defaults_come_from_the_schema() -> None:
    experiment = resolve(parsed(SMALLEST))
    assert experiment.runs[0].flows == ("stable", "rod", "rod_unit_step")
    assert experiment.replicas == 3
    assert experiment.sweeps == ()
    assert experiment.compute == {"devices": 1, "samples_at_once": None}
    assert experiment.sharpness == {"count": 3, "tolerance": 1e-3, "every": 1}
    assert experiment.run("mlp/gd/seed0").settings == {
        "batch_size": None,
        "criterion": "mse",
        "dataset": {"name": "digits", "samples": 1000, "scaling": "standard", "size": 8},
        "model": {
            "activation": "tanh",
            "hidden": [32, 32],
            "kind": "mlp",
            "normalisation": "none",
        },
        "optimizer": {"learning_rate": 0.1, "name": "gd"},
        "seed": 0,
        "snapshots": {"every": 10},
        "start": 50,
        "steps": 1000,
    }


def test_a_model_may_be_trained_on_fewer_images_than_there_are() -> None:
    config = changed("models.mlp.samples: 300", SMALLEST)
    settings = resolve(config).runs[0].settings
    assert settings["dataset"]["samples"] == 300
    assert "samples" not in settings["model"]
    assert resolve(config).dataset["samples"] == 1000


@pytest.mark.parametrize("size", [0.5, -3, float("nan")])
def test_a_batch_size_that_is_none_is_refused_by_its_own_name_beside_devices(size: float) -> None:
    sweep = {"model": "mlp", "optimizer": "gd", "flows": [], "over": {"batch_size": [size]}}
    config = parsed(SMALLEST) | {"compute": {"devices": 2}, "sweeps": {"batches": sweep}}
    assert "sweeps.batches.over.batch_size.0" in refusal(config)


def test_how_a_job_computes_is_among_the_settings_where_it_is_not_the_default() -> None:
    plain, usual, other = (
        resolve(parsed(SMALLEST + text)).runs[0]
        for text in ("", "\ncompute: {devices: 1}", "\ncompute: {samples_at_once: 10}")
    )
    assert plain.digest == usual.digest
    assert other.settings == plain.settings | {"compute": {"devices": 1, "samples_at_once": 10}}


def test_batches_are_shared_out_equally_too() -> None:
    config = parsed(SMALLEST + "\nflows: []\ncompute: {devices: 4}")
    config["optimizers"]["gd"]["batch_size"] = 50
    assert refusal(config).startswith("compute.devices is 4; it must divide batch_size, 50: 2 does")


@pytest.mark.parametrize(
    ("optimizer", "hyperparameters"),
    [
        ("gd", {}),
        ("heavy_ball", {"momentum": 0.9}),
        ("nesterov", {"momentum": 0.9}),
        ("rmsprop_scalar", {"b2": 0.99, "eps": 1e-8}),
        ("rmsprop", {"b2": 0.99, "eps": 1e-8}),
        ("adam_scalar", {"b1": 0.9, "b2": 0.99, "eps": 1e-8}),
        ("adam", {"b1": 0.9, "b2": 0.99, "eps": 1e-8}),
        ("nadam_scalar", {"b1": 0.9, "b2": 0.99, "eps": 1e-8}),
        ("nadam", {"b1": 0.9, "b2": 0.99, "eps": 1e-8}),
        ("rmsprop_uncorrected", {"b2": 0.99, "eps": 1e-8}),
        ("adam_uncorrected", {"b1": 0.9, "b2": 0.99, "eps": 1e-8}),
        ("k_adam", {"b1": 0.9, "b2": 0.99, "eps": 1e-8, "k": 2}),
        ("k_adam_shared", {"b1": 0.9, "b2": 0.99, "eps": 1e-8, "k": 2}),
        ("adamw", {"b1": 0.9, "b2": 0.99, "eps": 1e-8, "weight_decay": 0.01}),
        ("amsgrad", {"b1": 0.9, "b2": 0.99, "eps": 1e-8}),
        ("adagrad", {"initial_accumulator_value": 0.1, "eps": 1e-8}),
        ("yogi", {"b1": 0.9, "b2": 0.99, "eps": 1e-8}),
    ],
)
def test_each_optimizer_has_its_hyperparameters(optimizer: str, hyperparameters: dict) -> None:
    config = {**parsed(SMALLEST), "optimizers": {optimizer: {"learning_rate": 0.1}}}
    chosen = resolve(config).run(f"mlp/{optimizer}/seed0").settings["optimizer"]
    assert chosen == {"name": optimizer, "learning_rate": 0.1, **hyperparameters}


def test_runs_are_models_by_optimizers_by_seeds_in_the_order_of_the_config() -> None:
    paths = [run.path for run in resolve(parsed(FULL)).runs]
    assert len(paths) == 3 * 4 * 2
    assert paths[:3] == ["mlp/gd/seed0", "mlp/gd/seed7", "mlp/nesterov/seed0"]


def test_an_override_holds_for_its_model_alone() -> None:
    experiment = resolve(parsed(FULL))
    mlp, cnn = (experiment.run(f"{model}/adam/seed0").settings for model in ("mlp", "cnn"))
    assert (mlp["optimizer"]["learning_rate"], mlp["steps"]) == (0.005, 600)
    assert (cnn["optimizer"]["learning_rate"], cnn["steps"]) == (1.0, 90)
    assert cnn["optimizer"]["b1"] == 0.9


def test_a_sweep_has_the_runs_that_are_not_main_runs_already() -> None:
    (sweep,) = resolve(parsed(FULL)).sweeps
    assert [run.path for run in sweep.base] == ["mlp/adam/seed0", "mlp/adam/seed7"]
    assert [run.path for run in sweep.runs[::2]] == [
        "sweeps/rates/learning_rate=0.01/mlp/adam/seed0",
        "sweeps/rates/b1=0.5/mlp/adam/seed0",
    ]
    chosen = sweep.runs[-1].settings
    assert chosen["optimizer"] == sweep.base[1].settings["optimizer"] | {"b1": 0.5}
    assert (chosen["seed"], chosen["steps"], sweep.runs[-1].flows[0]) == (7, 600, "stable")


def test_a_sweep_over_a_product_has_all_combinations() -> None:
    config = changed("sweeps.rates.how: product")
    config["sweeps"]["rates"]["over"] = {"b1": [0.5, 0.9], "b2": [0.9, 0.99, 0.999]}
    (sweep,) = resolve(config).sweeps
    assert len(sweep.runs) == (2 * 3 - 1) * 2
    assert "sweeps/rates/b1=0.5,b2=0.999/mlp/adam/seed7" in {run.path for run in sweep.runs}


def test_a_paired_sweep_has_the_first_values_of_all_axes_then_the_second_ones() -> None:
    config = changed("sweeps.rates.how: paired")
    over = {"learning_rate": [0.002, 0.001], "steps": [200, 400], "b2": [0.9]}
    config["sweeps"]["rates"]["over"] = over
    (sweep,) = resolve(config).sweeps
    assert [run.path for run in sweep.runs[::2]] == [
        "sweeps/rates/learning_rate=0.002,steps=200,b2=0.9/mlp/adam/seed0",
        "sweeps/rates/learning_rate=0.001,steps=400,b2=0.9/mlp/adam/seed0",
    ]


def test_a_run_can_have_its_own_flows_and_restart() -> None:
    config = changed("optimizers.adam.models.cnn.flows: [closure]")
    config["optimizers"]["adam"]["restart"] = 78
    cnn, mlp = (resolve(config).run(f"{model}/adam/seed0") for model in ("cnn", "mlp"))
    assert cnn.processes == ("discrete", "closure")
    assert mlp.processes == ("discrete", "stable", "rod")
    assert mlp.restart == 80  # the nearest snapshot
    config["optimizers"]["adam"] |= {"restart": 599, "models": {}}
    assert resolve(config).run("mlp/adam/seed0").restart == 595  # the last one before the end
    assert mlp.settings == resolve(parsed(FULL)).run("mlp/adam/seed0").settings


def test_without_a_restart_the_rod_flow_starts_again_where_the_rod_opens() -> None:
    assert resolve(parsed(FULL)).run("mlp/adam/seed0").restart is None


def test_a_run_that_is_not_there_is_a_lookup_error() -> None:
    with pytest.raises(LookupError, match="full has no run mlp/gd/seed3"):
        resolve(parsed(FULL)).run("mlp/gd/seed3")


def test_run_settings_are_sorted_json() -> None:
    settings = resolve(parsed(FULL)).run("vit/rmsprop/seed7").settings
    assert json.dumps(settings) == json.dumps(settings, sort_keys=True)


# Digests


def digest(experiment: Experiment) -> str:
    return experiment.run("mlp/adam/seed0").digest


@pytest.mark.parametrize(
    "change",
    [
        "figures: [thresholds]",
        "sharpness: {count: 9}",
        "flows: [rod]",
        "name: other",
        "dataset.archive: elsewhere.tar.gz",
        "optimizers.adam.steps: 600.0",
        "optimizers.adam.models.cnn.learning_rate: 2",
        "models.cnn.channels: [4]",
    ],
)
def test_the_digest_of_a_run_ignores_what_its_trajectory_does_not_depend_on(change: str) -> None:
    assert digest(resolve(changed(change))) == digest(resolve(parsed(FULL)))


@pytest.mark.parametrize(
    "change",
    [
        "criterion: mse",
        "dataset.samples: 3000",
        "models.mlp.hidden: [32]",
        "optimizers.adam.eps: 1.0e-7",
        "optimizers.adam.start: 51",
        "snapshots.every: 6",
    ],
)
def test_the_digest_of_a_run_changes_with_its_trajectory(change: str) -> None:
    assert digest(resolve(changed(change))) != digest(resolve(parsed(FULL)))


# What is refused


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("name: ../up", 'name is "../up"; it must be lower-case letters'),
        ('name: "up\\n"', 'name is "up\\n"; it must be lower-case letters'),
        ("name: null", "name is null; it must be text"),
        ("nmae: x", 'nmae is "x", but the config has no nmae; it takes name, '),
        ("criterion: mes", 'criterion is "mes"; it must be one of mse, cross_entropy; did you'),
        ("dataset: digits", 'dataset is "digits"; it must be a mapping'),
        ("dataset: {name: mnist}", 'dataset.name is "mnist"; it must be one of digits, cifar10'),
        ("dataset: {samples: 10}", "dataset.name is missing"),
        ("dataset: {name: digits, samples: 1798}", "1798; it must be at least 1 and at most 1797"),
        ("dataset: {name: digits, size: 16}", "dataset.size is 16; it must be 8"),
        ("dataset: {name: digits, classes: [cat]}", "dataset has no classes; it takes name,"),
        ("dataset.samples: 50001", "dataset.samples is 50001; it must be at least 1"),
        ("dataset.samples: 10001", "10001; the chosen classes have 10000 images"),
        ("dataset.samples: true", "dataset.samples is true; it must be a whole number"),
        ("dataset.classes: [cat]", 'dataset.classes is ["cat"]; it must have at least 2'),
        ("dataset.classes: [cat, cow]", 'dataset.classes.1 is "cow"; it must be one of airplane'),
        ("dataset.size: 12", "dataset.size is 12; it must be one of 32, 16, 8"),
        ("dataset.archive: 3", "dataset.archive is 3; it must be text or null"),
        ("models: {}", "models is {}; it must not be empty"),
        ("models: {summary: {kind: mlp}}", "models.summary is not a usable name; it is"),
        ("models: {figures: {kind: mlp}}", "models.figures is not a usable name; it is"),
        ("models: {a b: {kind: mlp}}", 'models."a b" is not a usable name; it must be lower-case'),
        ("models: {1: {kind: mlp}}", "models.1 is not a text key; write it in quotes"),
        ("models.mlp.kind: mpl", 'models.mlp.kind is "mpl"; it must be one of mlp, cnn, vit, transformer; did'),
        ("models.mlp.widths: [3]", "but mlp has no widths; it takes kind, samples, steps, hidden"),
        ("models.mlp.hidden: []", "models.mlp.hidden is []; it must not be empty"),
        ("models.mlp.hidden: [8, 0]", "models.mlp.hidden.1 is 0; it must be at least 1"),
        ("models.mlp.hidden: [65537]", "hidden.0 is 65537; it must be at least 1 and at most 65536"),
        ("models.cnn.channels: [1, 1, 1, 1, 1]", "has 5 entries; each halves the image, whose side"),
        ("models.mlp: null", "models.mlp is null; it must be a mapping"),
        ("models.vit.heads: 3", "models.vit.heads is 3; it must divide width, 16"),
        ("models.vit.patch: 3", "models.vit.patch is 3; it must divide dataset.size, 16"),
        ("optimizers: {}", "optimizers is {}; it must not be empty"),
        ("optimizers.adamm: {}", "but optimizers has no adamm; it takes gd, heavy_ball, "),
        ("optimizers.adamm: {}", "; did you mean adam?"),
        ("optimizers.gd: {}", "optimizers.gd.learning_rate is missing"),
        ("optimizers.gd: null", "optimizers.gd is null; it must be a mapping"),
        ("optimizers.gd.b2: 0.9", "gd.b2 is 0.9, but gd has no b2; it takes learning_rate,"),
        ("optimizers.gd.learning_rate: 0", "learning_rate is 0; it must be greater than 0"),
        ("optimizers.gd.learning_rate: 5e-3", "(this is text; write 5.0e-3 or 0.005)"),
        ("optimizers.gd.learning_rate: '0.1'", "(this is text; write 0.1)"),
        ("optimizers.gd.learning_rate: .nan", "learning_rate is nan; a number must be finite"),
        ("optimizers.gd.learning_rate: -.inf", "optimizers.gd.learning_rate is -inf; a number"),
        ("optimizers.gd.steps: 1e3", "(this is text; write 1.0e+3 or 1000.0)"),
        ("optimizers.gd.steps: 10.5", "optimizers.gd.steps is 10.5; it must be a whole number"),
        (f"optimizers.gd.steps: {10**30}", "optimizers.gd.steps is beyond 64 bits"),
        ("optimizers.gd.start: 0", "optimizers.gd.start is 0; it must be at least 1"),
        ("optimizers.gd.start: 996", "(996 + 5) must be at most steps (1000)"),
        ("optimizers.adam.b1: 1", "optimizers.adam.b1 is 1; it must be at least 0 and less than 1"),
        ("optimizers.adam.b2: -0.1", "optimizers.adam.b2 is -0.1; it must be at least 0 and less"),
        ("optimizers.adam.eps: 0", "optimizers.adam.eps is 0; it must be greater than 0"),
        ("optimizers.k_adam: {learning_rate: 0.1, k: 0}", "k_adam.k is 0; it must be at least 1"),
        ("optimizers.k_adam: {learning_rate: 0.1, k: 9}", "at least 1 and at most 8"),
        ("optimizers.k_adam: {learning_rate: 0.1, k: 1.5}", "k is 1.5; it must be a whole number"),
        ("optimizers.k_adam: {learning_rate: 0.1, b1: 1}", "k_adam.b1 is 1; it must be at least 0"),
        ("models.vit.normalisation: layer", "but vit has no normalisation; it takes kind, samples"),
        ("models.cnn.normalisation: batch", 'is "batch"; it must be one of none, layer'),
        ("optimizers.adam.models.ccn: {}", "models.ccn is no model; the models are mlp, cnn, vit;"),
        ("optimizers.adam.models.cnn.lr: 1", "models.cnn.lr is 1, but cnn has no lr"),
        ("optimizers.adam.models.cnn.b2: 2", "optimizers.adam.models.cnn.b2 is 2; it must be"),
        ("optimizers.adam.models.cnn.steps: 54", "optimizers.adam.models.cnn.steps is 54; start +"),
        ("optimizers.adam.models.cnn.models: {}", "models.cnn.models is {}; it is not allowed"),
        ("seeds: []", "seeds is []; it must not be empty"),
        (f"seeds: {[*range(9000)]}", "seeds has 9000 entries, which makes 108000 runs; at most 1000"),
        ("seeds: 0", "seeds is 0; it must be a list"),
        ("seeds: [1, 1]", "seeds is [1, 1]; no entry may be repeated"),
        ("seeds: [-1]", "seeds.0 is -1; it must be at least 0"),
        ("flows: [rod, rod]", 'flows is ["rod", "rod"]; no entry may be repeated'),
        ("flows: [rods]", 'flows.0 is "rods"; it must be one of stable, rod, rod_unit_step, '),
        ("snapshots.every: 0", "snapshots.every is 0; it must be at least 1"),
        ("sharpness.count: 29", "sharpness.count is 29; it must be at least 1 and at most 28"),
        ("sharpness.tolerance: 1", "sharpness.tolerance is 1; it must be greater than 0 and less"),
        ("sharpness.count: 2020-01-01", 'sharpness.count is "2020-01-01"; it must be a whole'),
        ("replicas: -1", "replicas is -1; it must be at least 0"),
        ("compute.device: 2", "compute has no device; it takes devices, samples_at_once; did you"),
        ("compute.devices: 0", "compute.devices is 0; it must be at least 1"),
        ("compute.devices: 3", "compute.devices is 3; it must divide dataset.samples, 4000: 2 does"),
        ("compute.samples_at_once: 0", "compute.samples_at_once is 0; it must be at least 1"),
        ("compute: {devices: 4, samples_at_once: 1001}", "is 1001; a device has 1000 samples: give"),
        ("optimizers.gd.restart: 1000", "optimizers.gd.restart is 1000; it must be from start +"),
        ("optimizers.gd.only: [mpl]", 'gd.only.0 is "mpl"; the models are mlp'),
        ("optimizers.gd.batch_size: 0", "optimizers.gd.batch_size is 0; it must be at least 1"),
        ("optimizers.gd.batch_size: 4001", "gd.batch_size is 4001; mlp is trained on 4000 images"),
        ("optimizers.gd.batch_size: 9", "flows has stable for gd with batch_size 9; a flow follows"),
        ("optimizers.gd.flows: [pair]", "gd.flows has pair for gd with batch_size null; a batch of all 4000 images"),
        ("optimizers.gd: {learning_rate: 0.1, batch_size: 4000, flows: [pair]}",
          "has pair for gd with batch_size 4000; a batch of all 4000 images leaves no noise"),
        ("optimizers.adam: {learning_rate: 0.1, batch_size: 9, flows: [kicked_rod]}",
          "the kicked rod flow kicks what alternates, and with momentum the noise is slow: it exists for gd"),
        ("optimizers.gd.flows: [egde]", 'optimizers.gd.flows.0 is "egde"; it must be one of'),
        ("models.mlp.samples: 4001", "models.mlp.samples is 4001; dataset.samples is 4000"),
        ("models.mlp.samples: 0", "models.mlp.samples is 0; it must be at least 1"),
        ("models: {sweeps: {kind: mlp}}", "models.sweeps is not a usable name; it is"),
        ("sweeps.rates.modl: mlp", "but rates has no modl; it takes model, optimizer, over, how"),
        ("sweeps.rates.model: cn", 'rates.model is "cn"; the models are mlp, cnn, vit; did you'),
        ("sweeps.rates.model: [mlp, cn]", 'rates.model.1 is "cn"; the models are mlp, cnn, vit'),
        ("sweeps.rates.model: []", "sweeps.rates.model is []; it must not be empty"),
        ("sweeps.rates.optimizer: gd", "rates.over.b1 is no axis; gd has learning_rate, start,"),
        ("sweeps.rates.over: {}", "sweeps.rates.over is {}; it must not be empty"),
        ("sweeps.rates.over.b1: []", "sweeps.rates.over.b1 is []; it must not be empty"),
        ("sweeps.rates.over.b1: [0.5, 1]", "rates.over.b1.1 is 1; it must be at least 0 and less"),
        ("sweeps.rates.over.b3: [0.5]", "over.b3 is no axis; adam has learning_rate, b1"),
        ("sweeps.rates.over.steps: [5]", "over.steps start + snapshots.every (50 + 5) must be at"),
        ("sweeps.rates.over.seed: [-1]", "over.seed.0 is -1; it must be at least 0"),
        ("sweeps.rates.over.criterion: [mae]", 'over.criterion.0 is "mae"; it must be one of mse'),
        ("sweeps.rates.over.batch_size: [5000]", "batch_size.0 is 5000; the model is trained on 4000 images"),
        ("sweeps.rates.over.batch_size: [all]", 'batch_size.0 is "all"; it must be a whole number'),
        ("sweeps.rates.over.batch_size: [0]", "over.batch_size.0 is 0; it must be at least 1"),
        ("sweeps.rates.over.batch_size: [9]", "rates.flows has stable for adam with batch_size 9;"),
        ("sweeps.rates.figures: [tracking]", 'rates.figures.0 is "tracking"; it must be one of'),
        (f"sweeps.rates.over.steps: {[*range(100, 9000)]}", "rates.over makes 17806 runs; a sweep"),
        ("sweeps.rates: {model: mlp, optimizer: adam, how: paired, over: {b1: [0, 0.5], b2: [0, 0.5, 0.9]}}",
          "sweeps.rates.over.b1 has 2 values; paired with b2 it must have 3, or one that holds"),
        ("sweeps.rates.how: all", 'sweeps.rates.how is "all"; it must be one of each, paired, product'),
        ("figures: [trackin]", 'figures.0 is "trackin"; it must be one of tracking, '),
    ],
    ids=lambda value: value[:40],
)  # fmt: skip
def test_a_bad_value_is_refused_in_one_line(change: str, message: str) -> None:
    text = refusal(changed(change))
    assert message in text
    assert len(text.splitlines()) == 1


def test_problems_are_reported_in_the_order_of_the_config() -> None:
    config = changed("optimizers.adam.b1: 2", base=FULL)
    config["optimizers"]["gd"]["steps"] = float("nan")
    config["seeds"] = []
    assert refusal(config).startswith("optimizers.gd.steps is nan;")
    assert refusal(config).endswith("(and 2 more)")


@pytest.mark.parametrize("config", [None, [], "digits", 3])
def test_a_config_that_is_no_mapping_is_refused(config: Any) -> None:
    assert refusal(config).startswith("the config is ")


def test_a_config_that_holds_itself_is_refused() -> None:
    config = parsed(SMALLEST)
    config["models"] = {"a": config, "b": config, "c": config}
    assert refusal(config) == "models is too large; a config has at most 20000 values"


def test_a_config_without_any_run_is_refused() -> None:
    config = changed("optimizers.gd.only: []", base=SMALLEST)
    assert refusal(config).startswith("optimizers.gd.only is []; no run is left: name a model, or")
    config["sweeps"] = {"s": {"model": "mlp", "optimizer": "gd", "over": {"learning_rate": [1]}}}
    assert len(resolve(config).all_runs) == 1


def test_values_of_a_sweep_that_hardly_differ_have_folders_of_their_own() -> None:
    (sweep,) = resolve(changed("sweeps.rates.over.b1: [0.3, 0.30000000000000004]")).sweeps
    assert len({run.path for run in sweep.runs}) == len(sweep.runs)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"", "is empty"),
        (b"# only a comment\n", "is empty"),
        (b"- digits\n", "must be a mapping"),
        (b"name: a\nseeds: [0\n", ", line 3: expected ',' or ']'"),
        (b"name: a: b\n", ", line 1: mapping values are not allowed here"),
        (b"name: a\nseeds: [0]\nname: b\n", ", line 3: name is given twice"),
        (b"models:\n  mlp: {kind: mlp, kind: cnn}\n", ", line 2: kind is given twice"),
        (b"name: a\n---\nname: b\n", "line 2: but found another document"),
        (b"name: !!python/name:os.system\n", ", line 1: could not determine a constructor"),
        (b"name: 2020-99-99\n", ', line 1: "2020-99-99" cannot be read as timestamp; write text in'),
        (b"a: 1\nb: !!bool x\n", ', line 2: "x" cannot be read as bool; write text in quotes'),
        (b"a: 1\nb: " + b"9" * 5000, '... cannot be read as int; write text'),
        (b"a: &a [*a]\n", "line 1: is too large; a config has at most 20000 values, aliases"),
        (b"a: &a [0, 0]\n" + BILLION_LAUGHS, "line 1: is too large; a config has at most 20000"),
        (b"name: \xff\n", "can't decode byte"),
        (b"name: \x00\n", "special characters are not allowed"),
        (b"[" * 1000, "nested too deeply"),
    ],
    ids=lambda value: str(value)[:40],
)  # fmt: skip
def test_a_file_that_is_no_config_is_refused_in_one_line(
    text: bytes, message: str, tmp_path: Path
) -> None:
    path = tmp_path / "config.yaml"
    path.write_bytes(text)
    with pytest.raises(ConfigError) as caught:
        load(path)
    assert str(caught.value).startswith(str(path))
    assert message in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="No such file"):
        load(tmp_path / "config.yaml")


def test_anchors_and_merge_keys_are_read(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text("a: &a {x: 1, y: 2}\nb: {<<: *a, x: 3}\n")
    assert load(path)["b"] == {"x": 3, "y": 2}


def places(value: Any) -> list[tuple]:
    """The path to every value in a nested config, the config itself left out."""
    items = value.items() if isinstance(value, dict) else enumerate(value)
    found = []
    for key, item in items:
        found.append((key,))
        if isinstance(item, (dict, list)):
            found.extend((key, *rest) for rest in places(item))
    return found


SCALARS = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
    | st.sampled_from(["5e-3", "adam", "mlp", "cifar10", "learning_rate", 10**400])
)  # fmt: skip
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(SCALARS, inner, max_size=3),
    max_leaves=6,
)


@settings(max_examples=100, deadline=None)
@given(st.sampled_from(places(parsed(FULL))), st.sampled_from("set delete add".split()), st.data())
def test_any_mutation_resolves_or_is_refused_in_one_line(
    path: tuple, action: str, data: st.DataObject
) -> None:
    config = copy.deepcopy(parsed(FULL))
    place = config
    for key in path[:-1]:
        place = place[key]
    if action == "set":
        place[path[-1]] = data.draw(VALUES)
    elif action == "delete":
        del place[path[-1]]
    elif isinstance(place, dict):
        place[data.draw(st.text(max_size=8))] = data.draw(VALUES)
    else:
        place.append(data.draw(VALUES))
    try:
        assert resolve(config).runs
    except ConfigError as error:
        assert len(str(error).splitlines()) == 1


# Flows that exist for some optimizers only

EVERY = """
name: every
models: {mlp: {kind: mlp}, cnn: {kind: cnn}}
optimizers: {%s: {learning_rate: 0.1}}
"""
EXIST = {
    "central": {"gd", "rmsprop_scalar", "rmsprop"},
    "central_unregularised": {"rmsprop_scalar", "rmsprop"},
    "edge": {"gd"},
    "edge_unit_step": {"gd"},
    "adam_continuous": {"adam", "adamw"},
    "rod_macro": {"gd", "rmsprop_scalar", "rmsprop", "rmsprop_uncorrected", "adagrad"},
}
WHY = {
    "central": "the central flow is built for gradient descent and RMSProp",
    "central_unregularised": "the central unregularised flow leaves the sharpness to a second moment",
    "edge": "the edge flow is written for gradient descent",
    "edge_unit_step": "the edge unit step flow is written for gradient descent",
    "adam_continuous": "the adam continuous flow is written for Adam",
    "rod_macro": "the rod macro flow takes many steps at once only where no momentum rings and the step "
    "is linear in a small gradient",
}


@pytest.mark.parametrize("optimizer", [*OPTIMIZERS])
@pytest.mark.parametrize("flow", EXIST)
def test_a_flow_is_accepted_where_it_exists_and_refused_with_the_reason_elsewhere(
    flow: str, optimizer: str
) -> None:
    config = changed(f"flows: [rod, {flow}]", base=EVERY % optimizer)
    if optimizer in EXIST[flow]:
        assert {run.flows for run in resolve(config).runs} == {("rod", flow)}
        return
    text = refusal(config)
    assert text.startswith(f"flows has {flow} for {optimizer}; {WHY[flow]}: it exists for ")
    assert text.endswith(f"; give {optimizer} flows of its own")
    listed = text.split("it exists for ")[1].split(";")[0]
    assert set(listed.split(", ")) == EXIST[flow]


@pytest.mark.parametrize("flow", [flow for flow, known in EXIST.items() if "adam" not in known])
@pytest.mark.parametrize(
    "place",
    ["flows", "optimizers.adam.flows", "optimizers.adam.models.cnn.flows", "sweeps.rates.flows"],
)
def test_a_flow_that_an_optimizer_has_not_is_refused_where_it_is_asked_for(
    place: str, flow: str
) -> None:
    config = changed(f"{place}: [{flow}]")
    config["optimizers"] = {"adam": config["optimizers"]["adam"]}
    text = refusal(config)
    assert text.startswith(f"{place} has {flow} for adam; {WHY[flow]}: it exists for ")
    assert len(text.splitlines()) == 1


def test_flows_of_its_own_let_an_optimizer_stand_beside_one_with_another_flow() -> None:
    config = changed("flows: [rod, edge, central]")
    for optimizer in ("nesterov", "rmsprop", "adam"):
        config["optimizers"][optimizer]["flows"] = ["rod"]
    config["optimizers"]["rmsprop"]["models"] = {"vit": {"flows": ["central_unregularised"]}}
    config["sweeps"]["rates"]["flows"] = ["stable"]
    experiment = resolve(config)
    expected = {
        "mlp/gd/seed0": ("rod", "edge", "central"),
        "mlp/rmsprop/seed0": ("rod",),
        "vit/rmsprop/seed7": ("central_unregularised",),
        "sweeps/rates/b1=0.5/mlp/adam/seed0": ("stable",),
    }
    assert {path: experiment.run(path).flows for path in expected} == expected


# The command


def test_the_command_prints_every_run(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(ROOT / "config.yaml")]) == 0
    printed = capsys.readouterr().out
    assert "mlp/adam/seed1" in printed
    assert "learning_rate 0.005" in printed


def test_the_command_can_keep_quiet_about_a_config_that_is_right(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["--quiet", str(ROOT / "config.yaml")]) == 0
    assert capsys.readouterr() == ("", "")


def test_the_command_prints_one_line_and_fails_on_a_bad_config(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(SMALLEST + "seeds: []\n")
    assert main([str(path)]) == 1
    assert capsys.readouterr() == ("", f"{path}: seeds is []; it must not be empty\n")


def test_a_config_resolves_without_what_computes_and_draws() -> None:
    code = (
        "import sys; from rodflow.config.settings import load, resolve;"
        "resolve(load('config.yaml'));"
        "sys.exit(str({'jax', 'numpy', 'matplotlib', 'xarray', 'jsonschema'} & {*sys.modules} or ''))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.stderr.strip() == ""


def test_a_sweep_may_put_numbers_in_place_of_a_schedule() -> None:
    rate = {"schedule": "warmup_cosine", "peak": 0.1, "warmup": 5}
    sweep = {"model": "mlp", "optimizer": "gd", "over": {"learning_rate": [0.1, 0.2]}}
    config = parsed(SMALLEST) | {"sweeps": {"rates": sweep}}
    config["optimizers"] = {"gd": {"learning_rate": rate, "steps": 100}}
    runs = resolve(config).all_runs
    assert [run.settings["optimizer"]["learning_rate"] for run in runs][1:] == [0.1, 0.2]
