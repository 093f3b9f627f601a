"""How near flows are in function space: own targets, by the rules of docs/evidence.md (*Distance between outputs*).

The error in weights has claims of its own in `rodflow.audit.claims.rod_flow`; window and baseline are the same here.
"""

from rodflow.analysis import edge
from rodflow.audit.claims.claim import (
    TARGET,
    Claim,
    Measure,
    Measured,
    NotApplicable,
    above,
    at_least,
)
from rodflow.audit.claims.measures import demand, failed, onset_of, optimizer_in, ratio, stable_over
from rodflow.audit.claims.rod_flow import ROD_FLOWS
from rodflow.audit.numbers import digits
from rodflow.store.results import COMPLETED, StoredRun

_FIGURE = "function_space"
_ORDERS = 100
"""Several orders of magnitude at the least, between squared distances."""


def stable_over_in_outputs(flow: str) -> Measure:
    """Error in outputs of the stable flow over that of a flow, medians from the onset on; 0 if the flow diverged."""

    def measure(run: StoredRun) -> Measured:
        if failure := failed(run, flow):
            return Measured(0.0, failure)
        demand(run, "stable")
        stable, own = (_median(run, one) for one in ("stable", flow))
        in_weights = stable_over(flow)(run).value
        note = f"stable {digits(stable)}, {flow} {digits(own)}; in weights {digits(in_weights)}"
        return Measured(ratio(stable, own), note)

    return measure


def squared_stable_over_in_outputs(flow: str) -> Measure:
    """The square of `stable_over_in_outputs`."""

    def measure(run: StoredRun) -> Measured:
        found = stable_over_in_outputs(flow)(run)
        return Measured(found.value**2, found.note)

    return measure


def _median(run: StoredRun, flow: str) -> float:
    if not run.has("outputs"):
        raise NotApplicable("the experiment measures no outputs")
    if (status := str(run.outputs.attrs["status"])) != COMPLETED:
        raise NotApplicable(status)
    return edge.errors(run.outputs["output_error"].sel(process=flow), onset_of(run)).median


def _of(flow: str) -> tuple[Claim, ...]:
    stem, name = ROD_FLOWS[flow]
    quotient = f"error in outputs of the stable flow over that of the {name}, both medians from the onset on"
    return (
        Claim(
            id=f"{stem}-tracks-outputs",
            source=TARGET,
            statement=(
                f"In function space, too, the {name} follows the iterates where the stable flow does not: from the "
                "onset of the threshold on the median distance between outputs is smaller."
            ),
            quantity=quotient,
            measure=stable_over_in_outputs(flow),
            allowed=above(1),
            files=("outputs.nc", "comparison.nc"),
            figure=_FIGURE,
            flow=flow,
            same_of=stable_over_in_outputs,
        ),
        Claim(
            id=f"{stem}-outputs-orders",
            source=TARGET,
            statement=(
                f"For Adam the {name} is several orders of magnitude nearer to the run than the stable flow, at least "
                "two by the squared distance between outputs."
            ),
            quantity=f"square of the {quotient}",
            measure=squared_stable_over_in_outputs(flow),
            allowed=at_least(_ORDERS),
            files=("outputs.nc", "comparison.nc"),
            about=optimizer_in("adam"),
            figure=_FIGURE,
            flow=flow,
            same_of=squared_stable_over_in_outputs,
        ),
    )


CLAIMS: tuple[Claim, ...] = tuple(claim for flow in ROD_FLOWS for claim in _of(flow))
"""In the order of the report."""
