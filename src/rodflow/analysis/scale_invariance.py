"""What the norm of a kernel does whose scale the loss does not depend on, from the series of a discrete run alone.

L(cW) = L(W) for all c > 0 gives <W, grad L> = 0. With the steps d_t = W_{t+1} - W_t of any optimizer,

    ||W_T||^2 - ||W_0||^2 = sum_t ||d_t||^2 + 2 sum_t <W_t, d_t>

is an identity. For gradient descent the last sum is 0, so that the growth is the sum of squared steps; and the
direction W / ||W|| moves as under a step size that falls with that sum (Gould and Tanaka 2024, arXiv 2411.05746).

Momentum. Where d_t = b d_{t-1} + (a multiple of the gradient at W_t), as for heavy ball,
<W_t, d_t> = b (<W_{t-1}, d_{t-1}> + ||d_{t-1}||^2), since the gradient adds nothing. Summed over a long run this is
b / (1 - b) times the sum of squared steps, and the growth is (1 + b) / (1 - b) times that sum. So it is for Adam with
one second moment for all weights, as far as that moment stays constant over 1 / (1 - b) steps. A second moment for each
weight makes the step no multiple of gradients any more, and nothing is known of <W_t, d_t>.

The module imports neither JAX nor matplotlib.
"""

import numpy as np
import xarray as xr

from rodflow.config.catalogue import OPTIMIZERS
from rodflow.config.values import Settings


def has_kernels(series: xr.Dataset) -> bool:
    """Whether a discrete run has scale-invariant kernels."""
    return "kernel" in series.dims


def growth(series: xr.Dataset) -> xr.DataArray:
    """||W_t||^2 - ||W_0||^2, [step, kernel]."""
    squared = series["squared_norm"].astype(np.float64)
    return squared - squared.isel(step=slice(1)).sum("step", skipna=False)


def squared_steps(series: xr.Dataset) -> xr.DataArray:
    """The sum of ||W_{s+1} - W_s||^2 over the steps s < t, [step, kernel]."""
    return series["squared_update"].astype(np.float64).cumsum("step").shift(step=1, fill_value=0.0)


def momentum_factor(optimizer: Settings) -> float:
    """Growth over the sum of squared steps by momentum alone, (1 + b) / (1 - b); NaN where there is no formula.

    Args:
        optimizer: name and hyperparameters.
    """
    key = OPTIMIZERS[optimizer["name"]].momentum
    decay = optimizer.get(key, float("nan")) if key else 0.0 if key == "" else float("nan")
    return float((1 + decay) / (1 - decay))


def power(optimizer: Settings) -> int:
    """The power of ||W|| by which the learning rate is divided to give that of the direction W / ||W||.

    The gradient is inversely proportional to ||W||. Steps as long as the gradient turn the direction by
    eta / ||W||^2 times the gradient at the unit sphere; steps of a length of their own by eta / ||W||.
    """
    return 1 if OPTIMIZERS[optimizer["name"]].normalises else 2


def relative_rate(series: xr.Dataset, optimizer: Settings) -> xr.DataArray:
    """The effective learning rate of the direction over that at step 0, [step, kernel].

    As far as the norm changes it, (||W_t|| / ||W_0||)^-p with p from `power`: a learning rate that changes in time is
    not in it.

    Args:
        series: of the discrete run, with `squared_norm`.
        optimizer: name and hyperparameters.
    """
    squared = series["squared_norm"].astype(np.float64)
    return (squared / squared.isel(step=slice(1)).sum("step", skipna=False)) ** (
        -power(optimizer) / 2
    )


def step_cosine(series: xr.Dataset) -> xr.DataArray:
    """Cosine of a kernel and the step from there, [step, kernel]; NaN where it does not move."""
    sizes = series["squared_norm"].astype(np.float64) * series["squared_update"]
    return series["radial"].astype(np.float64) / np.sqrt(sizes.where(sizes > 0))
