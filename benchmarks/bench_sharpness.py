"""What the sharpness of a stored trajectory costs a snapshot, next to a step of the discrete run."""

import pytest
from measuring import chunk, experiment, images, run_of, side_by_side

from rodflow.stages import sharpness
from rodflow.stages.training import discrete_run

STEPS = {"mlp": 50, "cnn": 10}
LAST = {"mlp": 40, "cnn": 10}  # snapshots that are looked at

pytestmark = pytest.mark.usefixtures("one_core")


@pytest.mark.parametrize(
    ("model", "optimizer"), [("mlp", "gd"), ("mlp", "rmsprop"), ("mlp", "adam"), ("cnn", "gd")]
)
def test_sharpness(benchmark, model, optimizer):
    benchmark.group = "sharpness"
    settings = run_of(model, optimizer).settings
    trajectory = discrete_run(images(), settings).isel(snapshot=slice(-LAST[model], None))

    def measure():
        return sharpness.sharpness(images(), trajectory, settings, **experiment().sharpness)

    beside = {"discrete": chunk(model, optimizer, "discrete", STEPS[model])}
    found = side_by_side(benchmark, measure, beside, rounds=3)
    benchmark.extra_info.update(
        model=model,
        optimizer=optimizer,
        steps=STEPS[model],
        snapshots=found.sizes["snapshot"],
        steps_a_snapshot=settings["snapshots"]["every"] * experiment().sharpness["every"],
        hessian_products=float(found["hessian_products"].mean()),
        sharpness=experiment().sharpness,
    )
