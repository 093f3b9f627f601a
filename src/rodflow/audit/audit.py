"""The audit: are the files of an experiment intact, do its numbers come out again, what is shown.

    report = audit("results/digits", resolve(load("config.yaml")))
    write(report, "results/digits/audit.json")

Nothing is trained and nothing is repaired. Three questions are asked in turn:

* integrity: every file that the config asks for is there, as it was written, where it was written,
  made with the config's settings from the inputs that are there now, and in the manifest;
* recomputation: every comparison again from trajectories and sharpness, every figure's table again
  from the runs, and stored eigenvectors against stored weights (`rodflow.audit.curvature`);
* claims: what the stored numbers say about `rodflow.audit.claims.CLAIMS`. A run with a faulty or
  outdated file says nothing.

The report depends on the files and the config only, so that two audits of the same files agree in
every byte. JAX is imported only for the eigenvectors.
"""

import csv
import functools
import json
import math
import multiprocessing
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from itertools import zip_longest
from pathlib import Path
from textwrap import shorten
from typing import Any

import numpy as np
import xarray as xr

from rodflow.analysis.comparison import compare
from rodflow.audit.claims import CLAIMS, Finding, Judgement, Measured, judge
from rodflow.config import plan
from rodflow.config.catalogue import FIGURES
from rodflow.config.experiment import Experiment, Run
from rodflow.config.plan import SUFFIXES, expected_files, run_files
from rodflow.errors import RodflowError
from rodflow.store import artifact
from rodflow.store.artifact import ArtifactError, Problem
from rodflow.store.results import COMPLETED, StoredRun, drawn_from

ALLOWED = 1e-12
"""Relative difference of float64 numbers that are computed again from the same files."""

_AGAIN = "run `make reproduce`"


class AuditError(RodflowError, RuntimeError):
    """There is nothing to audit; one line with the remedy."""


@dataclass(frozen=True)
class Recomputed:
    """The numbers of an artifact, computed again.

    Attributes:
        artifact: the file that holds them, relative to the results root.
        source: what they were computed from.
        numbers: how many were compared.
        difference: the largest relative difference found.
        allowed: the largest that is allowed.
        fault: the first number that differs by more, "" if none does.
    """

    artifact: str
    source: str
    numbers: int
    difference: float
    allowed: float = ALLOWED
    fault: str = ""


@dataclass(frozen=True)
class Report:
    """What an audit found. Paths are relative to the results root.

    Attributes:
        experiment: its name.
        artifacts: every file of the experiment that is there, with its SHA-256.
        recomputed: the artifacts whose numbers were computed again.
        judgements: the claims.
        problems: what is wrong with the files: causes.
        consequences: what does not fit, or could not be checked, because of a problem.
        statuses: what artifacts that did not end as planned say of themselves.
    """

    experiment: str
    artifacts: Mapping[str, str] = field(hash=False)
    recomputed: tuple[Recomputed, ...]
    judgements: tuple[Judgement, ...]
    problems: tuple[Problem, ...]
    consequences: tuple[Problem, ...]
    statuses: Mapping[str, str] = field(hash=False)

    @property
    def intact(self) -> int:
        """How many artifacts have no problem."""
        return len(self.artifacts.keys() - {problem.path for problem in self.problems})

    @property
    def numbers(self) -> int:
        """How many numbers were computed again."""
        return sum(one.numbers for one in self.recomputed)

    @property
    def verdicts(self) -> dict[str, int]:
        """How many claims hold, fail and do not apply."""
        given = Counter(str(judgement.verdict) for judgement in self.judgements)
        return {
            verdict: given[verdict] for verdict in ("reproduced", "not reproduced", "not reached")
        }


def audit(root: str | Path, experiment: Experiment, workers: int = 1) -> Report:
    """Check the stored files of an experiment, recompute their numbers and judge the claims.

    Args:
        root: the results folder.
        experiment: what the folder should hold.
        workers: processes that check files and draw figures again, side by side.

    Raises:
        AuditError: the folder holds no artifact.
    """
    root = Path(root)
    if not any(root.rglob("*.nc")):
        raise AuditError(f"{root}: no results to audit; {_AGAIN} first")
    _KNOWN.clear()
    auditor = _Auditor(root, experiment)
    with _pool(workers) as each:
        auditor.check_files(each)
        auditor.check_runs(each)
    runs = {run: _KNOWN[root / run.path] for run in experiment.all_runs}
    with _pool(workers) as each:  # of processes that know the runs
        figures_drawn_again = auditor.draw_figures(each)
        auditor.check_dataset()
        auditor.check_figures(figures_drawn_again)
    unsound = {
        run.path: fault for run in experiment.all_runs if (fault := auditor.fault_below(run.path))
    }
    drawn: dict[str, list[StoredRun]] = defaultdict(list)
    for figure in plan.figures(experiment):
        drawn[figure.name] += [runs[run] for run in figure.runs]
    return Report(
        experiment=experiment.name,
        artifacts={
            path: artifact.sha256(root / path)
            for path in sorted(expected_files(experiment))
            if (root / path).is_file()
        },
        recomputed=tuple(sorted(auditor.found.recomputed, key=lambda one: one.artifact)),
        judgements=tuple(
            judge(
                [runs[run] for run in experiment.runs],
                CLAIMS,
                unsound,
                drawn,
                auditor.artifacts_of_no_run(),
            )
        ),
        problems=_in_order(auditor.problems),
        consequences=_in_order(auditor.consequences),
        statuses=dict(sorted(auditor.found.statuses.items())),
    )


_Map = Callable[..., Iterable[Any]]
"""As the function `map`."""


@contextmanager
def _pool(workers: int) -> Iterator[_Map]:
    """The `map` of some processes, or the plain one."""
    if workers < 2:
        yield map
        return
    # They start at the first call, before this process has started a thread of JAX.
    with ProcessPoolExecutor(workers, multiprocessing.get_context("fork")) as pool:
        yield pool.map


class _Auditor:
    """Collects what the parts of an audit find."""

    def __init__(self, root: Path, experiment: Experiment) -> None:
        self.root, self.experiment = root, experiment
        self.found = _Found()
        self.consequences: list[Problem] = []

    @property
    def problems(self) -> list[Problem]:
        """What is wrong by itself."""
        return self.found.problems

    def fault_below(self, folder: str) -> str:
        """The first problem with a folder or a file in it, else what follows from one, else ""."""
        for problem in (*_in_order(self.problems), *_in_order(self.consequences)):
            if problem.path == folder or problem.path.startswith(f"{folder}/"):
                return str(problem)
        return ""

    # Integrity

    def check_files(self, each: _Map) -> None:
        """Everything that can be said of the files without recomputing their numbers."""
        expected = expected_files(self.experiment)
        present = {path for path in expected if (self.root / path).is_file()}
        found = self._missing(expected - present)
        found += [
            Problem(path, "belongs to no run or figure of the config: delete it")
            for path in sorted(self._stored() - expected)
        ]
        named = {problem.path for problem in found} | (expected - present)
        tree = [
            problem
            for problem in artifact.verify_tree(self.root, each)
            if problem.path not in named
        ]
        named |= {problem.path for problem in tree if not _is_stale(problem)}
        found += tree
        found += [p for p in artifact.check_manifest(self.root) if p.path not in named]
        causes = {problem.path for problem in found if not _is_stale(problem)}
        for problem in found:
            follows = _is_stale(problem) and _stale_input(problem) in causes | expected - present
            (self.consequences if follows else self.problems).append(problem)

    def _missing(self, paths: set[str]) -> list[Problem]:
        """One line a file, or one for a run of which there is none."""
        problems = []
        for run in self.experiment.all_runs:
            if paths.issuperset(files := run_files(run, self.experiment)):
                problems.append(Problem(run.path, f"no file of this run: {_AGAIN}"))
                paths = paths - files.keys()
        return problems + [Problem(path, f"missing: {_AGAIN}") for path in sorted(paths)]

    def _stored(self) -> set[str]:
        patterns = ["**/*.nc", *(f"figures/*.{suffix}" for suffix in SUFFIXES)]
        files = (path for pattern in patterns for path in self.root.glob(pattern))
        return {path.relative_to(self.root).as_posix() for path in files}

    # Recomputation

    def check_runs(self, each: _Map) -> None:
        """Settings and comparison of every run, which is known then; its eigenvectors are looked at later."""
        faulty = frozenset(problem.path for problem in self.problems)
        check = functools.partial(
            _check_run, root=self.root, experiment=self.experiment, faulty=faulty
        )
        runs = self.experiment.all_runs
        for run, (found, stored, complete) in zip(runs, each(check, runs), strict=True):
            self._join(found)
            _KNOWN[stored.folder] = stored
            if not complete:
                self._unchecked(f"{run.path}/comparison.nc", "not recomputed", run.path)

    def _join(self, found: "_Found") -> None:
        self.found.problems += found.problems
        self.found.recomputed += found.recomputed
        self.found.samples += found.samples
        self.found.statuses |= found.statuses

    def check_dataset(self) -> None:
        """Settings of the data set, and with its images the eigenvectors of all runs."""
        from rodflow.audit.curvature import check  # imports JAX

        settings = {k: v for k, v in self.experiment.dataset.items() if k != "archive"}
        faulty = frozenset(problem.path for problem in self.problems)
        dataset = self.found.read(self.root, "dataset.nc", "dataset", settings, faulty)
        for one in self.found.samples if dataset is None else ():
            self._unchecked(one.artifact, "eigenvectors not checked", "dataset.nc")
        if dataset is not None:
            for checked in check(dataset, self.found.samples):
                self.found.add(checked)

    def draw_figures(self, each: _Map) -> Iterator[tuple[plan.Figure, Recomputed | Problem]]:
        """The table of every figure, being drawn again from what it was drawn from, where that is sound so far."""
        stored = [
            figure
            for figure in plan.figures(self.experiment)
            if (self.root / f"{figure.stem}.csv").is_file() and self._sound(figure)
        ]
        return zip(
            stored, each(functools.partial(_drawn_again, root=self.root), stored), strict=True
        )

    def check_figures(self, drawn: Iterable[tuple[plan.Figure, Recomputed | Problem]]) -> None:
        """What was found of them."""
        for figure, found in drawn:
            if not self._sound(figure):
                continue
            if isinstance(found, Problem):
                self.problems.append(found)
            else:
                self.found.add(found)

    def _sound(self, figure: plan.Figure) -> bool:
        """Whether nothing is wrong with what a figure is drawn from; else the figure is named as unchecked."""
        faulty = [place for place in figure.drawn_from if self.fault_below(place)]
        if faulty:
            self._unchecked(f"{figure.stem}.csv", "not drawn again", faulty[0])
        return not faulty

    def artifacts_of_no_run(self) -> dict[str, xr.Dataset | str]:
        """Those that the figures need, by name, or the problem with one."""
        names = {
            Path(path).stem
            for figure in plan.figures(self.experiment)
            if FIGURES[figure.name].of_no_run
            for path in figure.sources
        }
        return {
            name: self.fault_below(f"{name}.nc")
            or artifact.read(self.root / f"{name}.nc", kind=name)
            for name in sorted(names)
        }

    def _unchecked(self, path: str, what: str, cause: str) -> None:
        if not any(problem.path == path for problem in self.problems):
            self.consequences.append(Problem(path, f"{what}: {self.fault_below(cause)}"))


@dataclass
class _Found:
    """What a part of an audit finds, in a process of its own perhaps."""

    problems: list[Problem] = field(default_factory=list)
    recomputed: list[Recomputed] = field(default_factory=list)
    samples: "list[Sample]" = field(default_factory=list)
    statuses: dict[str, str] = field(default_factory=dict)

    def add(self, one: Recomputed) -> None:
        """A number that was computed again, which may be a problem."""
        self.recomputed.append(one)
        if one.fault:
            self.problems.append(Problem(one.artifact, one.fault))

    def read(
        self, root: Path, path: str, kind: str, settings: Mapping[str, Any], faulty: Set[str]
    ) -> xr.Dataset | None:
        """A sound artifact; None if it is among the faulty ones or has a problem, which is named."""
        if not (root / path).is_file() or path in faulty:
            return None
        try:
            data = artifact.read(root / path, kind=kind)
        except ArtifactError as error:
            self.problems.append(Problem(path, error.what))
            return None
        if (status := data.attrs["status"]) != COMPLETED:
            self.statuses[path] = status
        if fault := _settings_fault(artifact.settings(data), settings):
            self.problems.append(Problem(path, fault))
            return None
        return data


def _check_run(
    run: Run, root: Path, experiment: Experiment, faulty: Set[str]
) -> tuple[_Found, StoredRun, bool]:
    """What is found in a run, what was read of it but for the weights, and whether its comparison was computed again.

    That needs the run to be complete.
    """
    found, stored = _Found(), StoredRun(root / run.path)
    data: dict[str, dict[str, xr.Dataset]] = defaultdict(dict)
    own: dict[str, dict[str, Any]] = {
        "sharpness": {"sharpness": experiment.sharpness},
        "replicas": {"replicas": experiment.replicas},
        "iterates": {"restart": run.restart},
    }
    complete = True
    for path, (kind, process) in run_files(run, experiment).items():
        settings = run.settings | own.get(kind, {})
        dataset = found.read(root, path, kind, settings, faulty)
        if dataset is None:
            complete = False
        else:
            data[kind][process] = dataset
            stored.take(path.removeprefix(f"{run.path}/").removesuffix(".nc"), dataset)
    stored.release()
    trajectories, sharpness = data["trajectory"], data["sharpness"]
    for process in sorted(trajectories.keys() & sharpness.keys()):
        path = f"{run.path}/sharpness/{process}.nc"
        try:
            one = sample(path, run.settings, sharpness[process], trajectories[process])
        except (KeyError, ValueError) as error:
            found.problems.append(Problem(path, f"does not fit its trajectory: {error}"))
        else:
            found.samples.append(one)
    if not complete:
        return found, stored, False
    path = f"{run.path}/comparison.nc"
    try:
        fresh = compare(
            trajectories,
            sharpness,
            replicas=data["replicas"].get(""),
            iterates=data["iterates"].get(""),
            start=run.settings["start"],
            steps=run.settings["steps"],
        )
    except Exception as error:  # whatever a forged file may cause
        found.problems.append(Problem(path, f"cannot be recomputed: {error}"))
    else:
        found.add(recompute(data["comparison"][""], fresh, path))
    return found, stored, True


_KNOWN: dict[Path, StoredRun] = {}
"""Runs that were read, in this process or in the one that it is a copy of."""


def _drawn_again(figure: plan.Figure, root: Path) -> Recomputed | Problem:
    """The stored table of a figure against a fresh one."""
    path = f"{figure.stem}.csv"
    try:
        source = drawn_from([root / place for place in figure.drawn_from], _KNOWN)
        table = FIGURES.load(figure.name).draw(source).table
        fresh = table.to_csv(index=False, lineterminator="\n")
        stored = (root / path).read_text(encoding="utf-8")
    except Exception as error:  # whatever a forged file may cause
        return Problem(path, f"cannot be drawn again: {error}")
    for run in _KNOWN.values():
        run.release()
    return recompute_table(stored, fresh, path)


def _is_stale(problem: Problem) -> bool:
    """Whether `artifact.verify_tree` speaks of an input of the file and not of the file."""
    return problem.what.startswith("input ")


def _stale_input(problem: Problem) -> str:
    return problem.what.split(": ", 1)[1].split(" ", 1)[0]


def _in_order(problems: Iterable[Problem]) -> tuple[Problem, ...]:
    return tuple(sorted(set(problems), key=lambda problem: (problem.path, problem.what)))


def _settings_fault(found: Mapping[str, Any], wanted: Mapping[str, Any]) -> str:
    """The first setting of a file that is not the config's."""
    for key, made, now in artifact.different_settings(found, wanted):
        if key != "archive":
            made, now = json.dumps(made), json.dumps(now)
            return f"was made with {key} {made}, the config has {now}: {_AGAIN}"
    return ""


# Comparing what is stored with what comes out again


@dataclass(frozen=True)
class Sample:
    """What is needed of a sharpness artifact and its trajectory to verify eigenvectors.

    Attributes:
        artifact: the sharpness file, relative to the results root.
        settings: of the run.
        sharpness: its numbers at all snapshots.
        vectors: eigenvector, weights and second_moment (if the optimizer has one) at a few.
    """

    artifact: str
    settings: Mapping[str, Any]
    sharpness: xr.Dataset
    vectors: xr.Dataset


def sample(
    path: str,
    settings: Mapping[str, Any],
    sharpness: xr.Dataset,
    trajectory: xr.Dataset,
    count: int = 3,
) -> Sample:
    """Up to `count` snapshots of a sharpness artifact, the first and the last among them.

    Raises:
        KeyError, ValueError: the two have not the snapshots or variables that they should.
    """
    snapshots = sharpness.sizes["snapshot"]
    picked = np.unique(np.linspace(0, snapshots - 1, min(count, snapshots)).round().astype(int))
    vectors = sharpness[["eigenvector"]].isel(snapshot=picked)
    names = [name for name in ("weights", "second_moment", "gain") if name in trajectory]
    beside = trajectory[names].sel(snapshot=vectors["snapshot"])
    numbers = sharpness.drop_dims("parameter")
    return Sample(path, settings, numbers, vectors.assign(beside.data_vars))


def relative_difference(stored: np.ndarray, fresh: np.ndarray) -> np.ndarray:
    """|a - b| over the larger of |a| and |b|, element by element; 0 for equals and two NaN."""
    a, b = np.asarray(stored, np.float64), np.asarray(fresh, np.float64)
    same = (a == b) | (np.isnan(a) & np.isnan(b))
    with np.errstate(invalid="ignore", divide="ignore"):
        difference = np.abs(a - b) / np.maximum(np.abs(a), np.abs(b))
    return np.where(same, 0.0, np.where(np.isfinite(difference), difference, np.inf))


def recompute(stored: xr.Dataset, fresh: xr.Dataset, path: str) -> Recomputed:
    """A stored comparison against a fresh one."""
    source = "trajectories and sharpness"
    if different := sorted(stored.variables.keys() ^ fresh.variables.keys(), key=str):
        words = "has the unknown" if different[0] in stored.variables else "lacks the"
        fault = f"{words} variable {different[0]}"
        return Recomputed(path, source, 0, math.inf, fault=fault)
    numbers, largest, fault = 0, 0.0, ""
    for name, expected in fresh.variables.items():
        found = stored.variables[name]
        if found.dims != expected.dims or found.shape != expected.shape:
            largest = math.inf
            fault = fault or f"{name} has the shape {found.sizes}, recomputed {expected.sizes}"
            continue
        if expected.dtype.kind in "iuf":
            difference = relative_difference(found.values, expected.values)
            numbers += difference.size
        else:
            difference = np.where(
                found.values.astype(str) == expected.values.astype(str), 0, np.inf
            )
        largest = max(largest, float(difference.max(initial=0.0)))
        if not fault and largest > ALLOWED:
            at = np.unravel_index(np.argmax(difference > ALLOWED), difference.shape)
            place = ", ".join(
                f"{dim}={fresh[dim].values[i] if dim in fresh.coords else i}"
                for dim, i in zip(expected.dims, at, strict=True)
            )
            fault = f"{name}[{place}] is {found.values[at]}, recomputed {expected.values[at]}"
    return Recomputed(path, source, numbers, largest, fault=fault)


def recompute_table(stored: str, fresh: str, path: str) -> Recomputed:
    """The stored table of a figure against a fresh one, both as CSV with a header."""
    rows = [list(csv.reader(text.splitlines())) for text in (stored, fresh)]
    largest, fault = 0.0, ""
    for number, (found, expected) in enumerate(zip_longest(*rows, fillvalue=[]), start=1):
        difference = _row_difference(found, expected)
        largest = max(largest, difference)
        if difference > ALLOWED and not fault:
            fault = f"line {number} is {','.join(found)!r}, drawn again {','.join(expected)!r}"
    return Recomputed(path, "the stored runs", max(len(rows[1]) - 1, 0), largest, fault=fault)


def _row_difference(found: Sequence[str], expected: Sequence[str]) -> float:
    if len(found) != len(expected):
        return math.inf
    largest = 0.0
    for a, b in zip(found, expected, strict=True):
        if a != b:
            try:
                difference = relative_difference(np.array(float(a)), np.array(float(b)))
            except ValueError:
                return math.inf
            largest = max(largest, float(difference))
    return largest


# The report in words


def write(report: Report, path: str | Path) -> tuple[Path, ...]:
    """Store a report as JSON, and beside it as Markdown.

    Returns:
        The files that stood there and said something else: an audit of other files or another
        config, or reports that were altered.

    Raises:
        ArtifactError: a file cannot be written.
    """
    path = Path(path)
    contents = {path: as_json(report), path.with_suffix(".md"): as_markdown(report)}
    other = []
    for file, text in contents.items():
        with suppress(OSError):
            if file.read_bytes() != text.encode():
                other.append(file)
        artifact.write_bytes(file, text.encode())
    return tuple(other)


def as_json(report: Report) -> str:
    """Everything in a report. Numbers that are not finite are the texts "inf" and "nan"."""
    largest = max((one.difference for one in report.recomputed), default=0.0)
    content = {
        "experiment": report.experiment,
        "summary": {
            "artifacts": len(report.artifacts),
            "intact": report.intact,
            "numbers_recomputed": report.numbers,
            "largest_relative_difference": largest,
            "claims": report.verdicts,
            "problems": len(report.problems),
        },
        "claims": [_claim_entry(judgement) for judgement in report.judgements],
        "problems": [asdict(problem) for problem in report.problems],
        "consequences": [asdict(problem) for problem in report.consequences],
        "statuses": report.statuses,
        "recomputed": [asdict(one) for one in report.recomputed],
        "artifacts": report.artifacts,
    }
    return json.dumps(_finite(content), indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def _claim_entry(judgement: Judgement) -> dict[str, Any]:
    claim = judgement.claim
    return {
        "id": claim.id,
        "verdict": judgement.verdict,
        "source": claim.source,
        "statement": claim.statement,
        "quantity": claim.quantity,
        "overall": claim.overall.name if claim.overall else None,
        "allowed": str(claim.allowed),
        "findings": [asdict(finding) for finding in judgement.findings],
    }


def _finite(value: Any) -> Any:
    if isinstance(value, Measured):
        return _finite(value._asdict())
    if isinstance(value, Mapping):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def summary(report: Report) -> str:
    """A few lines for the terminal."""
    intact = f"{report.intact} of {len(report.artifacts)} artifacts intact"
    lines = [f"{report.experiment}: {intact}, {report.numbers} numbers recomputed"]
    lines.append(f"claims: {_claims_words(report)}")
    width = max((len(judgement.claim.id) for judgement in report.judgements), default=0)
    for judgement in report.judgements:
        found = shorten(_found_words(judgement), 72, placeholder=" ...")
        lines.append(f"  {judgement.verdict:<14}  {judgement.claim.id:<{width}}  {found}".rstrip())
    return "\n".join(lines)


def _claims_words(report: Report) -> str:
    return ", ".join(f"{count} {word}" for word, count in report.verdicts.items())


def _found_words(judgement: Judgement) -> str:
    """What was found, in a line: the number of all runs, the runs that do not agree, or how many do."""
    claim = judgement.claim
    if judgement.verdict == "not reached":
        reasons = {finding.note for finding in judgement.findings}
        return reasons.pop() if len(reasons) == 1 else ""
    if claim.overall:
        found = judgement.findings[0]
        return f"{found.subject}: {_number(found.measured)}; {claim.allowed}"
    if claim.artifact:
        return f"{_number(judgement.findings[0].measured)}; {claim.allowed}"
    failed = [f for f in judgement.findings if f.verdict == "not reproduced"]
    judged = judgement.count("reproduced") + len(failed)
    words = f"{judgement.count('reproduced')} of {judged} runs"
    shown = ", ".join(
        f"{f.subject} {_number(f.measured) if math.isfinite(f.measured) else f'({f.note})'}"
        for f in failed
    )
    return f"{words}; {claim.allowed}, but {shown}" if failed else f"{words} {claim.allowed}"


def as_markdown(report: Report) -> str:
    """A report for people: a summary, a table a claim, then problems and what was recomputed."""
    blocks = [
        f"# Audit of {report.experiment}",
        _table(
            ("", "found"),
            [
                ("artifacts", f"{report.intact} of {len(report.artifacts)} intact"),
                ("numbers", f"{report.numbers} recomputed, in {len(report.recomputed)} artifacts"),
                ("claims", _claims_words(report)),
                ("problems", str(len(report.problems) or "none")),
            ],
        ),
    ]
    if report.problems:
        blocks += ["## Problems", *_problem_blocks(report)]
    judged = [j for j in report.judgements if j.verdict != "not reached"]
    rows = [(_link(j), _emphasised(j.verdict), _found_words(j)) for j in judged]
    blocks += ["## Claims", _table(("claim", "verdict", "found"), rows)]
    if silent := [_link(j) for j in report.judgements if j not in judged]:
        blocks += [f"Not reached: {', '.join(silent)}."]
    for judgement in report.judgements:
        blocks += _claim_blocks(judgement)
    if report.statuses:
        blocks += ["## Artifacts that did not end as planned"]
        blocks += [
            _table(("artifact", "status"), [(f"`{p}`", s) for p, s in report.statuses.items()])
        ]
    rows4 = [
        (
            f"`{one.artifact}`",
            one.source,
            str(one.numbers),
            f"{one.difference:.1g}",
            f"{one.allowed:g}",
        )
        for one in report.recomputed
    ]
    heads = ("artifact", "from", "numbers", "largest relative difference", "allowed")
    blocks += ["## Recomputed numbers", _table(heads, rows4)]
    blocks += ["The SHA-256 of every artifact is in `audit.json`."]
    return "\n\n".join(blocks) + "\n"


def _link(judgement: Judgement) -> str:
    return f"[{judgement.claim.id}](#{judgement.claim.id})"


def _problem_blocks(report: Report) -> Iterator[str]:
    yield _table(("artifact", "problem"), [(f"`{p.path}`", p.what) for p in report.problems])
    if report.consequences:
        yield "Because of these:"
        follows: dict[str, list[str]] = {}
        for problem in report.consequences:
            follows.setdefault(problem.what, []).append(f"`{problem.path}`")
        yield "\n".join(f"* {what}: {', '.join(paths)}" for what, paths in follows.items())


def _claim_blocks(judgement: Judgement) -> Iterator[str]:
    claim = judgement.claim
    yield f"### {claim.id}"
    yield f"{claim.statement} Source: {claim.source}."
    measured = [f for f in judgement.findings if f.verdict != "not reached"]
    yield f"Verdict: {_emphasised(judgement.verdict)}. Measured: {claim.quantity}."
    if measured:
        rows = [row for finding in measured for row in _finding_rows(finding, str(claim.allowed))]
        yield _table(("run", "measured", "allowed", "verdict", "", "artifacts"), rows)
    silent: dict[str, list[str]] = {}
    for finding in judgement.findings:
        if finding.verdict == "not reached":
            silent.setdefault(finding.note, []).append(finding.subject)
    if silent:
        lines = [f"* {', '.join(subjects)}: {reason}" for reason, subjects in silent.items()]
        yield "Not reached:\n\n" + "\n".join(lines)


def _finding_rows(finding: Finding, allowed: str) -> Iterator[tuple[str, ...]]:
    def files(run: str) -> str:
        return ", ".join(f"`{path}`" for path in finding.artifacts if path.startswith(run))

    number, verdict = _number(finding.measured), _emphasised(finding.verdict)
    if not finding.values:
        yield finding.subject, number, allowed, verdict, finding.note, files("")
        return
    yield f"**{finding.subject}**", number, allowed, verdict, "", ""
    for run, (value, note) in finding.values.items():
        yield run, _number(value), "", "", note, files(f"{run}/")


def _emphasised(verdict: str) -> str:
    return f"**{verdict}**" if verdict == "not reproduced" else verdict


def _number(value: float) -> str:
    return f"{value:.3g}"


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(
        f"| {' | '.join(cell.replace('|', '&#124;') for cell in row)} |" for row in lines
    )
