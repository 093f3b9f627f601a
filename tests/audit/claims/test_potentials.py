"""Claims about toy.nc: a rod off the two-cycle and one that grows elsewhere are found."""

from typing import Any

import numpy as np
import pytest
import xarray as xr

import synthetic_results
from rodflow.audit.claims.claim import Finding, judge
from rodflow.audit.claims.potentials import CLAIMS


def exact() -> xr.Dataset:
    """The made-up toys, with rods that are on the formula and rates that are those of gradient descent."""
    data = synthetic_results.toy()
    shape = {"process": data["process"]}
    rate = np.log(abs(1 - 2 * data["over_threshold"])).expand_dims(
        optimizer=data["optimizer"], process=data["process"]
    )
    return data.assign(
        amplitude=data["predicted_amplitude"].expand_dims(shape), growth_rate=rate.copy()
    )


def changed(name: str, by: float, **where: Any) -> xr.Dataset:
    data = exact()
    values = data[name].copy(deep=True)
    values.loc[where] = values.loc[where] + by
    return data.assign({name: values})


def found(data: xr.Dataset | str) -> dict[str, Finding]:
    return {j.claim.id: j.findings[0] for j in judge([], CLAIMS, artifacts={"toy": data})}


def test_every_claim_holds_on_what_theory_says() -> None:
    judged = found(exact())
    assert {one.verdict for one in judged.values()} == {"reproduced"}
    assert {one.artifacts for one in judged.values()} == {("toy.nc",)}
    assert "closure 0" in judged["toy-rod-ode-two-cycle"].note


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("two-cycle", changed("amplitude", 1e-5, process="rod", eta_sharpness=2.2)),
        ("two-cycle", changed("amplitude", 1e-5, process="rod", eta_sharpness=1.9)),
        ("two-cycle", changed("amplitude", np.nan, process="rod", eta_sharpness=1.9)),
        ("threshold", changed("growth_rate", 0.01, process="rod", optimizer="heavy_ball")),
        ("threshold", changed("growth_rate", 9.0, process="rod", optimizer="heavy_ball")),
        ("threshold", changed("growth_rate", np.nan, process="rod", over_threshold=0.75)),
    ],
)
def test_a_claim_fails_where_a_rod_does_something_else(name: str, data: xr.Dataset) -> None:
    judged = found(data)
    failed = {key for key, one in judged.items() if one.verdict == "not reproduced"}
    assert failed == {f"toy-rod-ode-{name}"}


def test_where_the_rod_begins_to_grow_lies_between_two_rates() -> None:
    shifted = found(changed("growth_rate", 0.01, process="rod", optimizer="gd"))
    slope = np.log(1.0) - np.log(abs(1 - 2 * 0.875))
    assert shifted["toy-rod-ode-threshold"].measured == pytest.approx(0.01 / slope * 0.125)


def test_a_faulty_file_says_nothing() -> None:
    for data in ("toy.nc: damaged", xr.Dataset()):
        assert {one.verdict for one in found(data).values()} == {"not reached"}
