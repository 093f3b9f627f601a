"""Central flow without its curvature term: the second moment alone keeps the sharpness at the threshold."""

from functools import partial

from rodflow.config.declarations import CENTRE, GRADIENTS, PRODUCTS, Flow, of
from rodflow.dynamics.flows.central import CentralFlow

FLOW = Flow(
    title="Central flow without its curvature term.",
    label="central flow without curvature term",
    short="unregularised",
    order=6,
    color="sky",
    dashes=(0, (3, 1)),
    above=2.05,
    series={**CENTRE, **GRADIENTS, **PRODUCTS},
    supports=of("rmsprop_scalar", "rmsprop"),
    why="leaves the sharpness to a second moment",
)

process = partial(CentralFlow, regularised=False)
"""What the flow is made with."""
