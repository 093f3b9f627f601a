"""Which files an experiment has."""

from typing import Any

from rodflow.config import plan
from rodflow.config.settings import resolve

SWEPT = "sweeps/decay/b1=0.5/mlp/adam/seed0"
CONFIG: dict[str, Any] = {
    "name": "two",
    "models": {"mlp": {"kind": "mlp"}, "vit": {"kind": "vit"}},
    "optimizers": {
        "gd": {"learning_rate": 0.1},
        "adam": {"learning_rate": 0.1, "models": {"mlp": {"flows": ["stable", "closure"]}}},
    },
    "flows": ["stable"],
    "sweeps": {"decay": {"model": "mlp", "optimizer": "adam", "over": {"b1": [0.5]}}},
    "figures": ["tracking"],
}
HYPERPARAMETERS = {"figures/hyperparameters_decay": ("mlp/adam/seed0", SWEPT)}


def stems(**changes: Any) -> dict[str, tuple[str, ...]]:
    planned = plan.figures(resolve(CONFIG | changes))
    return {figure.stem: figure.drawn_from for figure in planned}


def test_a_figure_of_a_model_draws_its_main_runs() -> None:
    assert stems() == {
        "figures/tracking_mlp": ("mlp/gd/seed0", "mlp/adam/seed0"),
        "figures/tracking_vit": ("vit/gd/seed0", "vit/adam/seed0"),
        **HYPERPARAMETERS,
    }


def test_a_figure_of_a_sweep_draws_the_base_first() -> None:
    assert stems(figures=[]) == HYPERPARAMETERS


def test_a_figure_of_all_sweeps_draws_the_runs_of_those_that_name_it() -> None:
    rates = {"model": "mlp", "optimizer": "gd", "flows": [], "figures": ["eos_gd"]}
    sweeps = {
        "slow": rates | {"over": {"learning_rate": [0.05, 0.1]}},
        "wide": rates | {"model": "vit", "over": {"learning_rate": [0.2]}},
    }
    assert stems(figures=[], sweeps=sweeps) == {
        "figures/eos_gd": (
            "mlp/gd/seed0",
            "sweeps/slow/learning_rate=0.05/mlp/gd/seed0",
            "vit/gd/seed0",
            "sweeps/wide/learning_rate=0.2/vit/gd/seed0",
        )
    }


def test_a_batch_has_runs_that_differ_in_hyperparameters_and_seed_only() -> None:
    sweep = {
        "model": ["mlp", "vit"],
        "optimizer": "adam",
        "over": {"b1": [0.5], "criterion": ["mse", "cross_entropy"], "seed": [1, 2]},
        "how": "product",
        "flows": [],
    }
    batches = plan.batches(resolve(CONFIG | {"sweeps": {"decay": sweep}}))
    shared = [{(run.model, run.settings["criterion"]) for run in batch} for batch in batches]
    assert all(len(one) == 1 for one in shared)
    assert [len(batch) for batch in batches] == [2, 2, 2, 2]


def test_a_whole_number_shapes_the_program_and_so_the_batch() -> None:
    optimizers = {"k_adam": {"learning_rate": 0.1}}
    over = {"k": [1, 3], "b1": [0.5, 0.6]}
    sweep = {"model": "mlp", "optimizer": "k_adam", "over": over, "how": "product", "flows": []}
    experiment = resolve(CONFIG | {"optimizers": optimizers, "sweeps": {"decay": sweep}})
    batches = plan.batches(experiment)
    assert [{run.settings["optimizer"]["k"] for run in batch} for batch in batches] == [{1}, {3}]


def test_a_batch_is_split_where_it_would_keep_one_core_busy_for_long() -> None:
    decays = {"model": "mlp", "optimizer": "adam", "over": {"seed": [*range(1, 9)]}, "flows": []}
    batches = plan.batches(resolve(CONFIG | {"sweeps": {"decay": decays}}))
    assert [len(batch) for batch in batches] == [4, 4]


def test_the_closures_are_drawn_where_there_is_one() -> None:
    assert stems(figures=["closures"], sweeps={}) == {"figures/closures": ("mlp/adam/seed0",)}
    plain = {"gd": {"learning_rate": 0.1}}
    assert stems(figures=["closures"], optimizers=plain, sweeps={}) == {}


def test_the_toy_problems_are_no_run() -> None:
    assert stems(figures=["toy"], sweeps={}) == {"figures/toy": ("toy.nc",)}
    assert "toy.nc" in plan.expected_files(resolve(CONFIG | {"figures": ["toy"]}))


def test_the_region_of_adam_is_an_artifact_of_no_run() -> None:
    figure = "figures/adam_region"
    assert stems(figures=["adam_region"], sweeps={}) == {figure: ("adam_region.nc",)}
    chosen = {"figures": ["toy", "adam_region"]}
    assert {"toy.nc", "adam_region.nc"} <= plan.expected_files(resolve(CONFIG | chosen))


def test_only_what_is_drawn_is_run_again() -> None:
    def replayed(**changes: Any) -> dict[str, tuple[str, ...]]:
        experiment = resolve(CONFIG | changes)
        return {run.path: plan.replays(run, experiment) for run in experiment.all_runs}

    assert set(replayed(replicas=0).values()) == {()}
    assert replayed()["vit/gd/seed0"] == ("replicas",)
    assert replayed(figures=["iterates"])["vit/gd/seed0"] == ("replicas", "iterates")
    close = replayed(figures=["weights_plane"])
    assert close["mlp/gd/seed0"] == ("replicas", "onset_window")
    assert close["vit/gd/seed0"] == ("replicas",)
    assert close[SWEPT] == ()


def test_a_run_is_measured_in_function_space_only_where_a_figure_shows_it() -> None:
    experiment = resolve(CONFIG | {"figures": ["function_space"]})
    assert {run.path for run in experiment.all_runs if plan.has_outputs(run, experiment)} == {
        run.path for run in experiment.runs
    }
    assert "vit/gd/seed0/outputs.nc" in plan.expected_files(experiment)
    assert "vit/gd/seed0/outputs.nc" not in plan.expected_files(resolve(CONFIG))


def test_a_run_has_the_files_of_its_own_processes() -> None:
    experiment = resolve(CONFIG)
    files = plan.run_files(experiment.run("mlp/adam/seed0"), experiment)
    assert files["mlp/adam/seed0/sharpness/closure.nc"] == ("sharpness", "closure")
    assert files["mlp/adam/seed0/replicas.nc"] == ("replicas", "")
    assert "mlp/gd/seed0/closure.nc" not in plan.expected_files(experiment)
    assert f"{SWEPT}/rod_unit_step.nc" in plan.expected_files(experiment)
