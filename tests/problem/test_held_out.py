"""A test set: disjoint from the samples, scaled as they are, and measured at the weights of a run."""

import numpy as np
import optax
import pytest
import sklearn.datasets
from flax import linen as nn

import rodflow
from rodflow.config.settings import resolve
from rodflow.problem import labelled, objective
from rodflow.problem.held_out import labels_of, of_objective
from rodflow.problem.labelled import DatasetError
from rodflow.stages.study import StudyError

MODEL = {"kind": "mlp", "hidden": [3], "activation": "tanh"}
CONFIG = {
    "name": "one",
    "models": {"mlp": {"kind": "mlp", "hidden": [3]}},
    "optimizers": {"gd": {"learning_rate": 0.1, "start": 2, "steps": 20}},
    "snapshots": {"every": 5},
}


@pytest.fixture(scope="module")
def dataset():
    return labelled.load({"name": "digits", "samples": 20, "scaling": "standard", "test": 7})


def test_the_images_of_a_test_set_are_those_after_the_samples(dataset) -> None:
    assert dataset["test_sample"].values.tolist() == [*range(20, 27)]
    scale, mean = dataset.attrs["standard_deviations"][0], dataset.attrs["means"][0]
    stored = sklearn.datasets.load_digits()
    np.testing.assert_allclose(
        dataset["test_image"].values[..., 0] * scale + mean, stored.images[20:27], atol=1e-5
    )
    assert dataset["test_label"].values.tolist() == stored.target[20:27].tolist()


def test_the_samples_are_what_they_are_without_a_test_set(dataset) -> None:
    plain = labelled.load({"name": "digits", "samples": 20, "scaling": "standard"})
    np.testing.assert_array_equal(dataset["image"].values, plain["image"].values)


def test_more_test_images_than_are_left_are_refused() -> None:
    with pytest.raises(DatasetError, match="test is 98; the digits have 97 images beside"):
        labelled.load({"name": "digits", "samples": 1700, "test": 98})


def test_loss_and_accuracy_are_those_of_the_logits(dataset) -> None:
    loss, weights = objective.build(dataset, MODEL, "mse", 0)
    test = of_objective(loss, dataset)
    assert test is not None
    found = test.along(np.stack([np.asarray(weights), 2 * np.asarray(weights)]))
    for row, factor in enumerate((1, 2)):
        tree = loss.unravel(factor * weights)
        logits = np.asarray(loss.network(tree, dataset["test_image"].values))
        error = ((logits - dataset["test_target"].values) ** 2).sum(1).mean() / 2
        right = (logits.argmax(1) == dataset["test_label"].values).mean()
        assert found["test_loss"][row] == pytest.approx(error, rel=1e-5)
        assert found["test_accuracy"][row] == pytest.approx(right)


def test_without_a_test_set_the_settings_of_a_run_do_not_name_one() -> None:
    plain, asked = (
        resolve(CONFIG | {"dataset": {"name": "digits"} | extra}) for extra in ({}, {"test": 50})
    )
    assert "test" not in plain.runs[0].settings["dataset"]
    assert "test" not in plain.dataset
    assert asked.runs[0].settings["dataset"]["test"] == 50


def test_targets_that_are_no_classes_have_no_accuracy() -> None:
    assert labels_of(np.array([[0.0, 0.5], [1.0, 0.0]])) is None
    assert labels_of(np.array([[0.5], [1.0]])) is None
    np.testing.assert_array_equal(labels_of(np.array([[0.0, 1.0], [1.0, 0.0]])), [1, 0])
    np.testing.assert_array_equal(labels_of(np.array([3, 1])), [3, 1])


@pytest.mark.slow
def test_a_study_measures_its_test_set_along_every_process(tmp_path) -> None:
    rng = np.random.default_rng(0)
    inputs = rng.standard_normal((30, 4)).astype(np.float32)
    targets = (inputs[:, 0] > 0).astype(np.int32)
    study = rodflow.study(
        nn.Dense(2),
        None,
        optax.sgd(0.1),
        data=(inputs[:20], targets[:20]),
        criterion="cross_entropy",
        test=(inputs[20:], targets[20:]),
        steps=20,
        start=3,
        every=5,
        flows=["stable"],
        folder=tmp_path,
        progress=False,
    )
    run = study.trajectory()
    assert study.comparison["test_loss"].sel(process="stable").notnull().all()
    at = int(run["snapshot"][-1])
    iterate = run["iterate"].sel(snapshot=at).values
    assert study.names == ("bias", "kernel")
    logits = inputs[20:] @ iterate[2:].reshape(4, 2) + iterate[:2]
    right = (logits.argmax(1) == targets[20:]).mean()
    assert run["test_accuracy"].sel(snapshot=at).item() == pytest.approx(right)


def test_a_test_set_without_data_is_refused() -> None:
    with pytest.raises(StudyError, match="the loss takes no data"):
        rodflow.study(
            lambda p: (p**2).sum(),
            np.ones(2, np.float32),
            optax.sgd(0.1),
            test=np.ones(2),
            steps=20,
        )
