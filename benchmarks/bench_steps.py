"""What a step of each process costs, next to a step of the discrete run and to bare gradients in the same rounds."""

import numpy as np
import pytest
from measuring import chunk, derivatives, side_by_side

FLOWS = ("discrete", "stable", "rod", "rod_unit_step")
CASES = [
    *(("mlp", "gd", process) for process in (*FLOWS, "closure", "central", "edge")),
    *(
        ("mlp", optimizer, process)
        for optimizer in ("rmsprop_scalar", "rmsprop", "adam")
        for process in (*FLOWS, "closure")
    ),
    *(("cnn", "gd", process) for process in FLOWS),
    *(("vit", "adam", process) for process in FLOWS),
]
STEPS = {"mlp": 50, "cnn": 10, "vit": 10}

pytestmark = pytest.mark.usefixtures("one_core")


@pytest.mark.parametrize(("model", "optimizer", "process"), CASES)
def test_step(benchmark, model, optimizer, process):
    benchmark.group = "steps"
    steps = STEPS[model]
    beside = {
        "discrete": chunk(model, optimizer, "discrete", steps),
        "gradient": derivatives(model, optimizer, 1, steps),
    }
    seen = side_by_side(benchmark, chunk(model, optimizer, process, steps), beside)
    benchmark.extra_info.update(
        model=model,
        optimizer=optimizer,
        process=process,
        steps=steps,
        gradients=1.0 if process == "discrete" else float(np.mean(seen["gradients"])),
        hessian_products=float(np.mean(seen.get("hessian_products", 0))),
        third_derivatives=float(np.mean(seen.get("third_derivatives", 0))),
    )
