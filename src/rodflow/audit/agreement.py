"""How far two results folders agree, made on two machines or by two revisions of the code.

    found = agree("results/digits", "/elsewhere/results/digits")
    print(as_text(found)); found.holds

Nothing is trained and nothing is written. What agrees to the last bit is said so by the digests of its data. What
does not is held against a tolerance, for rounding grows: at the edge of stability two runs that differ in the last
digit part as fast as a run and its replicas do, so that weights may differ by a few times what the replicas' do
(docs/determinism.md). A folder may be somebody else's: what cannot be compared is said so, and no name leads out of it.
"""

import json
import math
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import ArrayLike

from rodflow.config.values import Settings
from rodflow.errors import RodflowError, printable
from rodflow.store import artifact
from rodflow.store.files import (
    ArtifactError,
    link_fault,
    listing,
    place_fault,
    read_bytes,
    reason,
    sha256,
)
from rodflow.store.manifest import listed

WEIGHTS = 1e-3
"""Distance of weights over their norm that is allowed anywhere."""

SPREADS = 10.0
"""And how many times the distance between a run and its farthest replica so far. A replica is moved once, at t0, by
rounding; on another machine every step is."""

SPREADS_OF_FLOWS = 100.0
"""The same of flows and the farthest replica at any time: their rods grow from seeds of the size of
rounding and may open earlier on one machine than on the other."""

WITHOUT_REPLICAS = 0.03
"""The distance over the norm that is allowed for runs without replicas."""

SERIES = 0.05
"""Distance of a series or a vector of numbers over its norm."""

EXACT = {"dataset": 1e-6, "toy": 1e-3}
"""The same of kinds whose rounding does not grow."""

FACTOR = 3.0
"""Factor between two tracking errors: near the predictability floor they are as random as rounding."""

ONSET = 0.05
"""Difference of two onsets over the length of the run."""

_MOST = 2**28  # bytes of a figure or a report
_WEIGHTS = ("weights", "iterate")
_ERRORS = ("error_mean", "error_last")
_NOT_JUDGED = (
    *("eigenvector", "residual", "raw_residual"),  # the sign is free; what is left of a search
    *("error", "raw_error", "missed_probability", "floor", "floor_mean", "floor_last"),  # random
    *("tracking_error", "iterate_error", "output_error", "output_distance"),  # by _ERRORS
    # The oscillation, which is rounding until the rod opens; its size shows in loss_plus and loss_minus.
    *("rod_length", "half_extent", "gradient_norm", "actual", "predicted", "multiplier"),
    *("secant", "secant_over_threshold", "quotient", "quotient_over_threshold"),
    *("tracked", "untracked", "unsolved", "gradients", "hessian_products", "third_derivatives"),
)


class AgreementError(RodflowError, RuntimeError):
    """There are no two results folders to compare; one line with the folder."""


@dataclass(frozen=True)
class Difference:
    """Two variables that are not the same to the last bit.

    Attributes:
        path: the file, relative to both results folders.
        variable: the variable, or the column of a table.
        value: how far they differ.
        allowed: how far they may.
        unit: what `value` is.
    """

    path: str
    variable: str
    value: float
    allowed: float
    unit: str

    @property
    def holds(self) -> bool:
        """Whether it is within the tolerance; NaN is not."""
        return self.value <= self.allowed

    def __str__(self) -> str:
        words = f"{self.path}: {self.variable} differs by {self.value:.2g} {self.unit}"
        return f"{words}, allowed {self.allowed:.2g}"


@dataclass
class Agreement:
    """What the comparison of two results folders found.

    Attributes:
        a, b: the folders.
        files: kind -> how many files both have.
        identical: kind -> how many of them have the same data (of figures: the same bytes).
        faults: what cannot agree: files that one lacks or that are damaged, other settings, shapes or verdicts.
        differences: of files that are not identical.
        notes: what differs and may: versions, devices, pictures.
    """

    a: Path
    b: Path
    files: Counter[str] = field(default_factory=Counter)
    identical: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)
    differences: dict[str, list[Difference]] = field(default_factory=lambda: defaultdict(list))
    notes: list[str] = field(default_factory=list)

    @property
    def holds(self) -> bool:
        """Whether the folders agree within the tolerances."""
        judged = (one.holds for found in self.differences.values() for one in found)
        return not self.faults and all(judged)


def agree(a: str | Path, b: str | Path) -> Agreement:
    """Compare two results folders.

    Args:
        a, b: the folders; weights are held against the norm and the replicas of the first.

    Raises:
        AgreementError: one is missing or is no results folder.
    """
    found = Agreement(Path(a), Path(b))
    files = [_files(folder) for folder in (found.a, found.b)]
    for folder in (found.a, found.b):
        links = ((place, link_fault(folder, place)) for place in listing(folder))
        found.faults += [f"{folder / place}: {fault}" for place, fault in links if fault]
    for path in sorted(files[0] ^ files[1]):
        found.faults.append(f"{path}: only in {found.a if path in files[0] else found.b}")
    provenance: dict[str, set[str]] = defaultdict(set)
    for path in sorted(files[0] & files[1]):
        if faults := [f for folder in (found.a, found.b) if (f := place_fault(folder, path))]:
            found.faults.append(f"{path}: {faults[0]}")
            continue
        try:
            if path.endswith(".nc"):
                _compare_artifacts(found, path, provenance)
            else:
                _compare_figures(found, path)
        except ArtifactError as error:
            found.faults.append(str(error))
        except Exception as error:  # whatever a forged file may cause
            found.faults.append(f"{path}: cannot be compared: {reason(error)}")
    found.notes[:0] = [f"{what}: {'; '.join(sorted(each))}" for what, each in provenance.items()]
    _compare_claims(found)
    return found


def _files(folder: Path) -> set[str]:
    if not folder.is_dir():
        raise AgreementError(f"{folder}: no such folder; give the results folders of two runs")
    if place_fault(folder, "dataset.nc"):
        raise AgreementError(f"{folder}: no results folder; it has no dataset.nc")
    return {place for place in listing(folder) if listed(place)}


# Artifacts


def _compare_artifacts(found: Agreement, path: str, provenance: dict[str, set[str]]) -> None:
    one, two = found.a / path, found.b / path
    a = artifact.read(one)
    b = a if sha256(one) == sha256(two) else artifact.read(two)
    kind = a.attrs["kind"]
    found.files[kind] += 1
    if words := _other_settings(a, b):
        found.faults.append(f"{path}: {words}")
        return
    if a.attrs["status"] != b.attrs["status"]:
        found.faults.append(
            f"{path}: {a.attrs['status']} in {found.a}, {b.attrs['status']} in {found.b}"
        )
        return
    for what, texts in _provenance(a, b):
        provenance[what].add(texts)
    if a.attrs["data_sha256"] == b.attrs["data_sha256"]:
        found.identical[kind] += 1
        return
    if words := _other_form(a, b):
        found.faults.append(f"{path}: {words}")
        return
    allowed = _allowed(found.a / path, a) if {*_WEIGHTS} & {*a.data_vars} else None
    for name in sorted(map(str, a.data_vars)):
        if difference := _difference(path, name, a, b, allowed):
            found.differences[kind].append(difference)


def _other_settings(a: xr.Dataset, b: xr.Dataset) -> str:
    """The first setting that differs."""
    for key, one, two in artifact.different_settings(artifact.settings(a), artifact.settings(b)):
        return f"made with {key} {json.dumps(one)} and {json.dumps(two)}"
    return ""


def _provenance(a: xr.Dataset, b: xr.Dataset) -> Iterator[tuple[str, str]]:
    """What made the files, where it differs."""
    for key in ("code_revision", "device"):
        texts = [str(data.attrs.get(key, "none")) for data in (a, b)]
        if texts[0] != texts[1]:
            yield key.replace("_", " "), " and ".join(texts)
    one, two = (json.loads(str(data.attrs["versions"])) for data in (a, b))
    for name in sorted(one.keys() | two.keys()):
        if one.get(name) != two.get(name):
            yield "versions", f"{name} {one.get(name)} and {two.get(name)}"


def _other_form(a: xr.Dataset, b: xr.Dataset) -> str:
    if different := sorted(a.variables.keys() ^ b.variables.keys(), key=str):
        return f"the variable {different[0]} is in one of them only"
    for name in sorted(a.variables, key=str):
        if a[name].dims != b[name].dims or a[name].shape != b[name].shape:
            return f"{name} has the shapes {dict(a[name].sizes)} and {dict(b[name].sizes)}"
        if name in a.coords and a[name].dtype.kind in "iuU" and not a[name].equals(b[name]):
            return f"the coordinate {name} has other values"
    return ""


def _allowed(path: Path, data: xr.Dataset) -> xr.DataArray | float:
    """How far weights may differ over their norm, [snapshot]: as far as replicas did up to there."""
    try:
        replicas = artifact.read(path.parent / "replicas.nc", kind="replicas")["weights"]
        run = artifact.read(path.parent / "discrete.nc", kind="trajectory")["weights"]
    except ArtifactError:
        return WITHOUT_REPLICAS
    replicas, run = xr.align(replicas, run, join="inner", exclude=["parameter", "replica"])
    spread = (_norm(replicas - run) / _norm(run)).max("replica").fillna(np.inf)
    if not spread.size:
        return WITHOUT_REPLICAS
    if data.attrs["kind"] == "trajectory" and path.stem != "discrete":
        return max(WEIGHTS, SPREADS_OF_FLOWS * float(spread.max()))
    so_far = spread.copy(data=np.maximum.accumulate(spread.values))
    dim = "snapshot" if "snapshot" in data.dims else "step"
    at = so_far.rename(snapshot=dim).reindex({dim: data[dim]}, method="ffill").fillna(0.0)
    return cast(xr.DataArray, np.maximum(WEIGHTS, SPREADS * at))


def _difference(
    path: str, name: str, a: xr.Dataset, b: xr.Dataset, allowed: xr.DataArray | float | None
) -> Difference | None:
    """How far one variable differs; None if it does not or is not judged."""
    one, two = a[name], b[name]
    if name in _NOT_JUDGED or one.equals(two):
        return None
    if one.dtype.kind not in "iuf":
        return Difference(path, name, math.inf, 0.0, "in words")
    if (np.isnan(one) != np.isnan(two)).any():
        return Difference(path, name, math.inf, 0.0, "where it is not a number")
    one, two = one.astype(np.float64).fillna(0.0), two.astype(np.float64).fillna(0.0)
    if name in _WEIGHTS and allowed is not None:
        scale = _norm(a["weights" if "weights" in a else "iterate"].astype(np.float64))
        distance = _norm(one - two) / scale
        worst = int(np.argmax((distance / allowed).values))
        limit = np.broadcast_to(np.asarray(allowed), distance.shape).reshape(-1)[worst]
        value = float(distance.values.reshape(-1)[worst])
        return Difference(path, name, value, float(limit), "of the norm of the weights")
    if name in _ERRORS:
        both = ((one > 0) & (two > 0)).values
        ratio = np.abs(np.log(one.values[both] / two.values[both]))
        return Difference(path, name, float(np.exp(ratio.max(initial=0))), FACTOR, "as a factor")
    if name == "onset":
        steps = artifact.settings(a)["steps"]
        away = float(np.abs(one - two).max()) / steps
        return Difference(path, name, away, ONSET, "of the length of the run")
    limit = EXACT.get(str(a.attrs["kind"]), SERIES)
    return Difference(path, name, _relative(one.values, two.values), limit, "of its norm")


def _norm(values: xr.DataArray) -> xr.DataArray:
    return cast(xr.DataArray, np.sqrt((values.astype(np.float64) ** 2).sum("parameter")))


# Figures and claims


def _compare_figures(found: Agreement, path: str) -> None:
    kind = f"figure, {Path(path).suffix.removeprefix('.')}"
    found.files[kind] += 1
    one, two = (read_bytes(folder / path, _MOST) for folder in (found.a, found.b))
    if one == two:
        found.identical[kind] += 1
    elif path.endswith(".csv"):
        _compare_tables(found, path, kind)
    else:
        found.notes.append(f"{path}: not the same to the last byte")


def _compare_tables(found: Agreement, path: str, kind: str) -> None:
    """Rows and words must be the same; how far the numbers are from each other, is a note."""
    one, two = (pd.read_csv(folder / path) for folder in (found.a, found.b))
    words = [str(column) for column in one if one[column].dtype.kind not in "iuf"]
    if list(one) != list(two) or len(one) != len(two) or not one[words].equals(two[words]):
        found.faults.append(f"{path}: not the same rows")
        return
    numbers = [column for column in one if column not in words]
    largest = max(_relative(one[column].values, two[column].values) for column in numbers)
    found.notes.append(f"{path}: numbers differ by up to {largest:.2g} of the norm of their column")


def _relative(one: ArrayLike, two: ArrayLike) -> float:
    a, b = (np.nan_to_num(np.asarray(values, np.float64)) for values in (one, two))
    scale = max(np.linalg.norm(a), np.linalg.norm(b))
    return float(np.linalg.norm(a - b) / scale) if scale else 0.0


def _compare_claims(found: Agreement) -> None:
    """The verdicts of the two audits, where both folders have one."""
    claims = []
    for folder in (found.a, found.b):
        try:
            judged = json.loads(read_bytes(folder / "audit.json", _MOST))["claims"]
            claims.append({str(claim["id"]): _verdicts(claim) for claim in judged})
        except FileNotFoundError:
            found.notes.append(f"{folder} has no audit: verdicts are not compared")
        except Exception as error:  # whatever a forged file may cause
            found.faults.append(f"{folder / 'audit.json'}: is no audit: {reason(error)}")
    if len(claims) < 2:
        return
    one, two = claims
    for name in sorted(one.keys() | two.keys()):
        found.files["claim"] += 1
        first, second = one.get(name, {}), two.get(name, {})
        other = [
            f"{subject}: {first.get(subject, 'not judged')} and {second.get(subject, 'not judged')}"
            for subject in dict.fromkeys((*first, *second))
            if first.get(subject, "").split(" (")[0] != second.get(subject, "").split(" (")[0]
        ]
        found.identical["claim"] += first == second
        if other:
            found.faults.append(f"claim {name}: {'; '.join(other)}")


def _verdicts(claim: Settings) -> dict[str, str]:
    """What each run, or all together, say about a claim: verdict and number."""
    return {
        str(
            one["subject"]
        ): f"{one['verdict']} ({float(one['measured']):.3g}, {claim['allowed']} allowed)"
        for one in claim["findings"]
        if one["verdict"] != "not reached"
    }


# In words


def as_text(found: Agreement) -> str:
    """A table with a line a kind, the worst difference of each, then what does not agree."""
    rows = [("kind", "files", "identical", "largest difference over the allowed one")]
    for kind, files in sorted(found.files.items()):
        judged = found.differences.get(kind, [])
        worst = max(
            judged,
            key=lambda one: one.value / one.allowed if one.allowed else math.inf,
            default=None,
        )
        rows.append((kind, str(files), str(found.identical[kind]), _worst(worst)))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(map(str.ljust, row, widths)).rstrip() for row in rows]
    lines += [f"note: {note}" for note in found.notes]
    broken = [str(one) for each in found.differences.values() for one in each if not one.holds]
    lines += [f"differs: {line}" for line in (*found.faults, *broken)]
    same = found.files == found.identical and not found.faults
    verdict = (
        "the same to the last bit"
        if same
        else "within the tolerances"
        if found.holds
        else "different"
    )
    lines.append(f"{found.a} and {found.b}: {verdict}")
    return "\n".join(map(printable, lines))


def _worst(one: Difference | None) -> str:
    return "" if one is None else f"{one.value:.1e} / {one.allowed:.1e}  {one.variable}, {one.path}"
