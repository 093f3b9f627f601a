"""Where the curvature of a ReLU network is: in its Hessian, or in the kinks between its linear pieces.

    python benchmarks/kinks.py results/eos

At the edge of stability the curvature along the jump of gradient descent is 2/eta on average: its secant, the change
of the gradient from one end of the rod to the other. The Hessian at the centre is the derivative, blind to kinks.
For each run of gradient descent with squared error, at four snapshots, over 2/eta: both along the rod, and along the
Hessian's leading eigenvector the Hessian and the secant at several widths.
"""

import sys
from collections.abc import Callable
from pathlib import Path

import jax
import jax.numpy as jnp
from jax import Array

from rodflow.problem import objective
from rodflow.store import artifact

WIDTHS = (1e-3, 1e-2, 1e-1)
PLACES = (0.15, 0.4, 0.65, 0.95)
Gradient = Callable[[Array], Array]


def secant(gradient: Gradient, centre: Array, along: Array, width: float) -> float:
    """Mean curvature along a unit vector between the points at this distance on both sides."""
    change = gradient(centre + width * along) - gradient(centre - width * along)
    return float(jnp.vdot(along, change) / (2 * width))


def quotient(gradient: Gradient, centre: Array, along: Array) -> float:
    """Curvature of the Hessian along a unit vector."""
    return float(jnp.vdot(along, jax.jvp(gradient, (centre,), (along,))[1]))


def main(root: Path) -> None:
    dataset = artifact.read(root / "dataset.nc", kind="dataset")
    print(f"{'run, step':<56} {'|X|':>8} {'H':>6} secant | eigenvector: H, secants at {WIDTHS}")
    for path in sorted(root.glob("**/gd/seed*/discrete.nc")):
        data = artifact.read(path, kind="trajectory")
        vectors = artifact.read(path.parent / "sharpness/discrete.nc", kind="sharpness")
        settings = artifact.settings(data)
        if settings["criterion"] != "mse":
            continue
        loss, _ = objective.of_run(dataset, settings)
        gradient, limit = jax.jit(jax.grad(loss)), 2 / settings["optimizer"]["learning_rate"]
        for place in PLACES:
            here = data.isel(snapshot=int(place * data.sizes["snapshot"]))
            centre = jnp.asarray(here["weights"].values)
            extent = jnp.asarray(here["half_extent"].values)
            top = vectors["eigenvector"].sel(snapshot=here["snapshot"], method="nearest")
            vector, length = jnp.asarray(top.values), float(jnp.linalg.norm(extent))
            rod = extent / length
            along_rod = quotient(gradient, centre, rod), secant(gradient, centre, rod, length)
            widths = [secant(gradient, centre, vector, width) for width in WIDTHS]
            numbers = [value / limit for value in (*along_rod, quotient(gradient, centre, vector))]
            name = f"{path.parent.relative_to(root)}, {int(here['snapshot'])}"
            print(
                f"{name:<56} {length:8.1e} {numbers[0]:6.3f} {numbers[1]:6.3f} | {numbers[2]:.3f}, "
                + " ".join(f"{value / limit:.3f}" for value in widths)
            )


if __name__ == "__main__":
    main(Path(sys.argv[1]))
