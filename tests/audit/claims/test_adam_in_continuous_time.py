"""Claims about adam_region.nc: each can hold, fail and be silent, and is judged where there is such a file."""

from collections.abc import Callable
from pathlib import Path

import pytest
import xarray as xr

import synthetic_results
from rodflow.audit.audit import audit
from rodflow.audit.claims.adam_in_continuous_time import CLAIMS as OURS
from rodflow.audit.claims.catalogue import CLAIMS
from rodflow.audit.claims.claim import judge
from rodflow.config.settings import resolve
from rodflow.store import artifact
from rodflow.store.manifest import write_manifest


def scaled(name: str, factor: float, **where: float) -> Callable[[xr.Dataset], xr.Dataset]:
    """Multiplies a variable, or its values at these coordinates."""

    def change(data: xr.Dataset) -> xr.Dataset:
        changed = data[name].copy()
        changed.loc[where] = changed.loc[where] * factor
        return data.assign({name: changed})

    return change


FAILURES = {
    "adam-bound-never-exceeded": [
        scaled("climbed", 1.00001),
        scaled("eigenvalue", 1.01),
        scaled("update", 1.01, point=3),
        scaled("training_update", 1.2, point=3),
        scaled("climbed", float("nan"), start=1),
    ],
    "adam-bounded-inside": [
        scaled("update", 1.1, point=0),
        scaled("training_update", 9.0, point=1),
    ],
    "adam-grows-outside": [
        scaled("growth_rate", 1.03, point=3),
        scaled("growth_rate", 0.97, point=3),
        scaled("growth_rate", float("nan"), point=3),
    ],
}


def verdicts(data: xr.Dataset | str) -> dict[str, str]:
    found = judge([], CLAIMS, artifacts={"adam_region": data})
    return {j.claim.id: j.verdict for j in found if j.claim.artifact}


def test_every_claim_holds_on_numbers_that_agree() -> None:
    assert verdicts(synthetic_results.adam_region()) == dict.fromkeys(FAILURES, "reproduced")


@pytest.mark.parametrize(
    ("name", "change"), [(name, change) for name in FAILURES for change in FAILURES[name]]
)
def test_a_claim_fails_on_numbers_that_disagree(
    name: str, change: Callable[[xr.Dataset], xr.Dataset]
) -> None:
    assert verdicts(change(synthetic_results.adam_region()))[name] == "not reproduced"


def test_the_finding_names_the_file() -> None:
    data = synthetic_results.adam_region()
    for judgement in judge([], OURS, artifacts={"adam_region": data}):
        (finding,) = judgement.findings
        assert finding.subject == "adam_region.nc" and finding.artifacts == ("adam_region.nc",)
        assert finding.note


def test_a_faulty_file_says_nothing() -> None:
    assert {*verdicts("adam_region.nc: damaged").values()} == {"not reached"}
    assert {*verdicts(xr.Dataset()).values()} == {"not reached"}


def test_a_path_that_stays_on_one_side_says_nothing_about_the_other() -> None:
    data = synthetic_results.adam_region()
    assert verdicts(data.isel(point=[0, 1]))["adam-grows-outside"] == "not reached"
    assert verdicts(data.isel(point=[3]))["adam-bounded-inside"] == "not reached"


def test_without_the_file_they_are_left_out() -> None:
    assert not [j for j in judge([], CLAIMS, drawn={"adam_region": []}) if j.claim.artifact]


def audited(root: Path) -> dict[str, str]:
    config = {
        "name": "adam",
        "dataset": {"name": "digits"},
        "models": {"mlp": {"kind": "mlp", "hidden": [4], "activation": "tanh"}},
        "optimizers": {"adam": {"learning_rate": 0.01}},
        "figures": ["adam_region"],
    }
    report = audit(root, resolve(config))
    return {j.claim.id: j.verdict for j in report.judgements if j.claim.artifact}


def test_an_audit_judges_them_on_the_stored_file_if_it_is_sound(tmp_path: Path) -> None:
    path, data = tmp_path / "adam_region.nc", synthetic_results.adam_region()
    artifact.write(data, path, kind="adam_region", root=tmp_path, settings={}, inputs={})
    write_manifest(tmp_path, accept=True)
    assert audited(tmp_path) == dict.fromkeys(FAILURES, "reproduced")
    content = path.read_bytes()
    path.write_bytes(content[:-200] + bytes([content[-200] ^ 1]) + content[-199:])
    assert {*audited(tmp_path).values()} == {"not reached"}
