"""How optimizers behave at the edge of stability: discrete runs, the flows that model them, sharpness and thresholds.

A study of a problem of your own takes any loss of any tree of parameters and any deterministic optax optimizer:

    >>> import jax.numpy as jnp, numpy as np, optax, rodflow
    >>> x = np.random.default_rng(0).standard_normal((20, 3))
    >>> def loss(params, x):
    ...     return jnp.mean((jnp.tanh(x @ params["in"]) @ params["out"] - jnp.sin(x[:, 0])) ** 2)
    >>> params = {"in": 0.5 * np.eye(3, 4, dtype="f4"), "out": np.ones(4, "f4")}
    >>> study = rodflow.study(loss, params, optax.adam(0.01), data=x, steps=60, progress=False)
    >>> study.tracking_error.sel(process="rod_unit_step").size > 0
    True

`study.figure()` draws it. The pieces that a study is made of are here too: `optimizer_map` makes the map F of an optax
transformation, `discrete` iterates it, `integrate` follows it with a flow, `sharpness_along` measures what comes
out, `alternating_gain` gives its threshold, and `open_results` reads a results folder of the workflow.
"""

from importlib import import_module
from importlib.metadata import PackageNotFoundError, version

_WHERE = {
    "OptimizerMap": "optimizers.optimizer_map",
    "Process": "dynamics.process",
    "Recording": "dynamics.process",
    "RodflowError": "errors",
    "Search": "stages.sharpness",
    "State": "optimizers.optimizer_map",
    "Study": "stages.study",
    "alternating_gain": "optimizers.alternation",
    "discrete": "dynamics.training",
    "grid": "dynamics.process",
    "integrate": "dynamics.integration",
    "open_results": "store.tree",
    "optimizer_map": "optimizers.optimizer_map",
    "sharpness_along": "stages.sharpness",
    "study": "stages.study",
}
"""The public names and their modules, which are imported when a name is asked for; `__init__.pyi` has their types."""

__all__ = [
    "OptimizerMap",
    "Process",
    "Recording",
    "RodflowError",
    "Search",
    "State",
    "Study",
    "__version__",
    "alternating_gain",
    "discrete",
    "grid",
    "integrate",
    "open_results",
    "optimizer_map",
    "sharpness_along",
    "study",
]

try:
    __version__ = version("rodflow")
except PackageNotFoundError:  # a source tree that is not installed
    __version__ = "unknown"


def __getattr__(name: str) -> object:
    if name not in _WHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    attribute = "along" if name == "sharpness_along" else name
    value = getattr(import_module(f"{__name__}.{_WHERE[name]}"), attribute)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
