"""The whole chain: the Snakefile on an experiment of a minute, and what happens when things go wrong.

The experiment is run once, in a copy of the repository (the tree); what changes a tree works on a
copy of that one. In it adam ends as planned and gd diverges.
"""

import fcntl
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import xarray as xr
import yaml

from rodflow.audit.agreement import agree, as_text
from rodflow.cli.beginning import begin
from rodflow.store import artifact
from rodflow.store.files import write_bytes
from rodflow.store.integrity import verify_tree

REPOSITORY = Path(__file__).parents[2]
SNAKEMAKE = [sys.executable, "-m", "snakemake"]
ROOT = "results/tiny"
ADAM, GD = f"{ROOT}/mlp/adam/seed0", f"{ROOT}/mlp/gd/seed0"
PROCESSES = ("discrete", "stable", "rod_unit_step")
AUDIT = "audit: integrity, numbers computed again, claims"
AUDITED = ("audit.json", "audit.md", "audit.html")
MANIFEST = "manifest of all artifacts and figures"
CONFIG = {
    "name": "tiny",
    "dataset": {"name": "digits", "samples": 60},
    "models": {"mlp": {"kind": "mlp", "hidden": [4]}},
    "optimizers": {
        "adam": {"learning_rate": 0.005, "start": 5, "steps": 40},
        "gd": {"learning_rate": 50, "start": 5, "steps": 40},
    },
    "flows": ["stable", "rod_unit_step"],
    "snapshots": {"every": 10},
    "sharpness": {"count": 1},
    "replicas": 2,
}

# Imported by every Python of a run: refuses connections, and notes them beside itself.
NO_NETWORK = """
import pathlib
import sys


def refuse(event, arguments):
    if event == "socket.getaddrinfo":
        where = arguments[0]
    elif event == "socket.connect" and isinstance(arguments[1], tuple):
        where = arguments[1]
    else:
        return
    with open(pathlib.Path(__file__).with_name("connections"), "a") as file:
        print(event, where, file=file)
    raise OSError("this test has no network")


sys.addaudithook(refuse)
"""


@dataclass(frozen=True)
class Tree:
    """A copy of the repository in which an experiment is run.

    Attributes:
        folder: the copy.
        shared: what all trees share: compiled programs, and the watch on connections.
    """

    folder: Path
    shared: Path

    @classmethod
    def new(cls, folder: Path, shared: Path, config: dict = CONFIG) -> "Tree":
        for part in ("workflow", "src"):
            ignored = shutil.ignore_patterns("__pycache__", "*.egg-info")
            shutil.copytree(REPOSITORY / part, folder / part, ignore=ignored)
        shutil.copy2(REPOSITORY / "Snakefile", folder)
        tree = cls(folder, shared)
        tree.configure(config)
        return tree

    def copy(self, folder: Path) -> "Tree":
        return Tree(shutil.copytree(self.folder, folder), self.shared)

    def configure(self, config: dict) -> None:
        (self.folder / "tiny.yaml").write_text(yaml.safe_dump(config))

    @property
    def environment(self) -> dict[str, str]:
        closed = "http://127.0.0.1:9"
        proxies = {f"{scheme}_proxy": closed for scheme in ("http", "https", "ftp", "all")}
        return (
            os.environ
            | proxies
            | {
                "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
                "PYTHONPATH": f"{self.folder / 'src'}{os.pathsep}{self.shared}",
                "RODFLOW_CACHE": str(self.shared / "cache"),
            }
        )

    def start(self, *command: str, where: Path | None = None, **options) -> subprocess.Popen[str]:
        return subprocess.Popen(
            command,
            cwd=where or self.folder,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            **options,
        )

    def call(self, *command: str) -> tuple[int, str]:
        """Exit status and output of a command."""
        with self.start(*command) as process:
            output, _ = process.communicate(timeout=900)
        return process.returncode, output

    def snakemake(self, *arguments: str) -> tuple[int, str]:
        return self.call(*SNAKEMAKE, *arguments, *OPTIONS)

    def written(self) -> dict[str, tuple[int, int]]:
        """When each file of the results was written, and its size."""
        found = {path: path.stat() for path in (self.folder / "results").rglob("*")}
        return {
            path.relative_to(self.folder).as_posix(): (stat.st_mtime_ns, stat.st_size)
            for path, stat in found.items()
            if path.is_file()
        }


OPTIONS = ["--configfile", "tiny.yaml", "--profile", "workflow/profiles/default", "--cores", "2"]


def jobs(output: str) -> set[str]:
    """What a call of Snakemake ran, or would run."""
    return set(re.findall(r"^Job \d+: (.+)$", output, re.MULTILINE))


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for all tests of this module, also those in another process of pytest-xdist."""
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "pipeline"
    folder.mkdir(exist_ok=True)
    (folder / "sitecustomize.py").write_text(NO_NETWORK)
    return folder


@pytest.fixture(scope="module")
def cold(shared: Path) -> tuple[Tree, str]:
    """The tree after its first run, and what that run said; to be looked at, not changed."""
    folder, said = shared / "tree", shared / "said"
    try:
        (shared / "claimed").mkdir()
    except FileExistsError:
        wait_for(said.exists)
        tree = Tree(folder, shared)
    else:
        tree = Tree.new(folder, shared)
        status, output = tree.snakemake()
        write_bytes(said, f"{status}\n{output}".encode())
    status, output = said.read_text().split("\n", 1)
    assert status == "0", output
    return tree, output


@pytest.fixture
def tree(cold: tuple[Tree, str], tmp_path: Path) -> Tree:
    """A copy of the tree after its first run, at another place."""
    return cold[0].copy(tmp_path / "tree")


def wait_for(condition, seconds: float = 900) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.05)


def test_a_cold_run_makes_every_documented_file(cold):
    files = {path for path in cold[0].written() if "/logs/" not in path}
    artifacts = {f"{ROOT}/dataset.nc"}
    for run in (ADAM, GD):
        artifacts |= {f"{run}/{process}.nc" for process in PROCESSES}
        artifacts |= {f"{run}/sharpness/{process}.nc" for process in PROCESSES}
        artifacts |= {f"{run}/replicas.nc", f"{run}/comparison.nc"}
    figures = {
        f"{ROOT}/figures/{stem}.{suffix}"
        for stem in ("tracking_mlp", "thresholds", "tracking_summary")
        for suffix in ("png", "pdf", "csv", "rst")
    }
    others = {f"{ROOT}/{name}" for name in ("manifest.sha256", *AUDITED, "experiment.txt")}
    assert files == artifacts | figures | others


def test_every_netcdf_file_explains_itself(cold):
    for path in sorted(cold[0].folder.glob("results/**/*.nc")):
        with xr.open_dataset(path) as data:
            assert data.attrs["title"]
            settings = json.loads(data.attrs["settings"])
            assert settings.get("dataset", settings)["samples"] == 60
            assert re.fullmatch(
                r"completed|(replica 1 )?diverged at step \d+", data.attrs["status"]
            )
            for name, variable in data.variables.items():
                wanted = {"long_name"} if variable.dtype.kind in "OUT" else {"long_name", "units"}
                assert wanted <= variable.attrs.keys(), f"{path.name}: {name}"


def test_a_run_opens_no_connection(cold):
    tree, connections = cold[0], cold[0].shared / "connections"
    assert not connections.exists(), connections.read_text()
    status, output = tree.call(
        sys.executable, "-c", "import socket; socket.create_connection(('127.0.0.1', 9))"
    )
    assert (status, output.splitlines()[-1]) == (1, "OSError: this test has no network")
    connections.unlink()


def test_a_diverging_run_is_marked_and_stops_no_other(cold):
    folder = cold[0].folder
    with xr.open_dataset(folder / GD / "discrete.nc") as data:
        assert re.fullmatch(r"diverged at step \d+", data.attrs["status"])
        status = data.attrs["status"]
    for process in PROCESSES:
        with xr.open_dataset(folder / ADAM / f"{process}.nc") as data:
            assert (data.attrs["status"], data["step"].values[-1]) == ("completed", 40)
    table = (folder / ROOT / "figures/tracking_mlp.csv").read_text()
    assert "mlp,gd,0,discrete,loss" in table
    assert f"| `mlp/gd/seed0/discrete.nc` | {status} |" in (folder / ROOT / "audit.md").read_text()


def test_a_second_call_runs_nothing_wherever_the_tree_is(tree):
    before = tree.written()
    status, output = tree.snakemake()
    assert (status, jobs(output)) == (0, set()), output
    assert "Nothing to be done" in output
    assert tree.written() == before


@pytest.mark.slow
def test_a_changed_figure_module_draws_that_figure_again(tree):
    before = tree.written()
    module = tree.folder / "src/rodflow/figures/rod_flow/thresholds.py"
    module.write_text(module.read_text() + "\nCHANGED = 1\n")
    status, output = tree.snakemake()
    assert (status, jobs(output)) == (0, {"figure thresholds", MANIFEST, AUDIT}), output
    after = tree.written()
    again = {path for path in after if after[path] != before.get(path) and "/logs/" not in path}
    thresholds = {f"{ROOT}/figures/thresholds.{suffix}" for suffix in ("png", "pdf", "csv", "rst")}
    listed = {f"{ROOT}/{name}" for name in ("manifest.sha256", *AUDITED)}
    assert again == thresholds | listed


@pytest.mark.slow
def test_a_changed_hyperparameter_reruns_what_depends_on_it(tree):
    optimizers = CONFIG["optimizers"]
    adam = optimizers["adam"] | {"learning_rate": 0.01}
    tree.configure(CONFIG | {"optimizers": optimizers | {"adam": adam}})
    status, output = tree.snakemake("--dry-run")
    run = "mlp/adam/seed0"
    assert status == 0, output
    assert jobs(output) == {
        f"discrete run: {run}",
        f"stable flow: {run}",
        f"rod_unit_step flow: {run}",
        f"sharpness: {run}",
        f"replicas: {run}",
        f"comparison: {run}",
        MANIFEST,
        "figure tracking_mlp",
        "figure thresholds",
        "figure tracking_summary",
        "experiment: all settings",
        AUDIT,
    }


@pytest.mark.slow
def test_the_audit_names_damaged_files_and_trains_nothing(tree):
    truncated, altered = (tree.folder / run / "discrete.nc" for run in (ADAM, GD))
    os.truncate(truncated, truncated.stat().st_size // 2)
    content = bytearray(altered.read_bytes())
    content[len(content) // 2] ^= 1
    altered.write_bytes(content)
    before = tree.written()
    status, output = tree.call(
        sys.executable, "-m", "rodflow.cli", "audit", "--config", "tiny.yaml"
    )
    assert status == 1, output
    named = re.findall(r"^(results/.+?): (.+)$", output, re.MULTILINE)
    assert [path for path, _ in named] == [f"{ADAM}/discrete.nc", f"{GD}/discrete.nc"], output
    assert "Traceback" not in output
    after = tree.written()
    assert {path for path in after if after[path] != before.get(path)} == {
        f"{ROOT}/{name}" for name in AUDITED
    }


@pytest.mark.slow
def test_a_failed_job_says_why(tree):
    dataset = tree.folder / ROOT / "dataset.nc"
    os.truncate(dataset, 1000)
    accept = [sys.executable, "-m", "rodflow.cli", "accept", ROOT]
    tree.call(*accept)
    status, output = tree.snakemake(f"{ADAM}/discrete.nc")
    assert status == 1
    assert re.search(rf"^error: {ROOT}/dataset.nc: .+$", output, re.MULTILINE), output


@pytest.mark.slow
def test_a_call_stops_at_a_forged_run_and_the_audit_still_names_it(tree):
    """Its digests fit; without the stop everything would be made again from it, and a manifest that lists it."""
    path = tree.folder / GD / "discrete.nc"
    data = artifact.read(path)
    kept = {"settings": artifact.settings(data), "status": data.attrs["status"]}
    inputs = {"dataset": tree.folder / ROOT / "dataset.nc"}
    data["loss"] *= 0.1
    root = tree.folder / ROOT
    artifact.write(data, path, kind="trajectory", root=root, inputs=inputs, **kept)
    before = tree.written()
    status, output = tree.snakemake()
    assert status == 1 and jobs(output) == set(), output
    named = f"error: {GD}/discrete.nc: differs from the manifest, and no job wrote it"
    assert named in output and f"rodflow accept {ROOT}" in output
    assert tree.written() == before
    status, output = tree.call(
        sys.executable, "-m", "rodflow.cli", "audit", "--config", "tiny.yaml"
    )
    assert status == 1 and re.search(rf"^{GD}/discrete.nc: .+ manifest$", output, re.M), output


@pytest.mark.slow
def test_a_figure_that_is_no_longer_wanted_is_tidied_away_by_a_command(tree):
    tree.configure(CONFIG | {"figures": ["tracking", "tracking_summary"]})
    status, output = tree.snakemake()
    assert status == 1, output
    tidy = [sys.executable, "-m", "rodflow.cli", "tidy", "--config", "tiny.yaml"]
    left = [f"{ROOT}/figures/thresholds.{suffix}" for suffix in ("csv", "pdf", "png", "rst")]
    _, output = tree.call(*tidy)
    assert output.splitlines() == [*left, "4 files to delete: call it again with --delete"]
    assert all((tree.folder / path).exists() for path in left)
    _, output = tree.call(*tidy, "--delete")
    assert output.splitlines()[-1] == "4 files deleted"
    status, output = tree.snakemake()
    assert status == 0, output
    _, output = tree.call(*tidy)
    assert output.splitlines() == [f"{ROOT}: nothing to tidy"]


@pytest.mark.slow
def test_everything_is_one_call_to_one_index(tree):
    """What is there is not made again; images that would have to be fetched are left out."""
    other = CONFIG | {"name": "other", "dataset": {"name": "cifar10", "samples": 60}}
    (tree.folder / "other.yaml").write_text(yaml.safe_dump(other))
    command = [sys.executable, "-m", "rodflow.cli", "everything", "--cores", "2"]
    before = tree.written()
    status, output = tree.call(*command, "--configs", "tiny.yaml", "other.yaml")
    assert (status, jobs(output)) == (0, set()), output
    assert "other: left out, its images are not at hand" in output
    assert re.search(r"^\[1/1\] tiny: (\d+) of \1 files, 0 s$", output, re.M), output
    new = tree.written().keys() - before.keys()
    assert new == {"results/index.md", "results/index.html"}
    index = (tree.folder / "results/index.md").read_text()
    assert re.search(r"^\| \[tiny\]\(tiny/audit.md\) \| 2 \| (\d+) of \1 \| 0 \|", index, re.M), (
        index
    )
    assert "## Figures of Regis and Chewi 2026: rod flow and what it predicts" in index
    page = (tree.folder / "results/index.html").read_text()
    for place in re.findall(r'src="(.+?)"', page):
        assert (tree.folder / "results" / place).is_file()
    assert page.count("<img ") == 3


@pytest.mark.slow
@pytest.mark.parametrize("looks", ["--list", "--dry-run", "--lint"])
def test_looking_writes_nothing_and_touches_no_file(tree, looks):
    ahead = time.time() + 86400
    os.utime(tree.folder / ADAM / "discrete.nc", (ahead, ahead))
    os.utime(tree.folder / "src/rodflow/errors.py", (ahead, ahead))

    def everything():
        ours = (path for path in tree.folder.rglob("*") if "__pycache__" not in path.parts)
        return {
            path: (path.stat().st_mtime_ns, path.read_bytes() if path.is_file() else b"")
            for path in ours
            if ".snakemake" not in path.parts and path != tree.folder
        }

    before = everything()
    status, output = tree.snakemake(looks)
    assert everything() == before
    found = re.findall(r"^    \* (.+)", output, re.M)
    # One environment holds all that the stages need.
    assert set(found) <= {"Specify a conda environment or container for each rule.:"}, output
    assert status == (1 if found else 0), output


@pytest.mark.slow
@pytest.mark.parametrize("snakefile", ["Snakefile", "workflow/Snakefile"])
def test_a_call_from_elsewhere_takes_the_clones_config(tree, tmp_path, snakefile):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (tree.folder / "config.yaml").write_text(yaml.safe_dump(CONFIG | {"name": "cloned"}))
    command = [*SNAKEMAKE, "--snakefile", f"../tree/{snakefile}", "--cores", "1", "--dry-run"]
    with tree.start(*command, "results/cloned/dataset.nc", where=elsewhere) as process:
        output, _ = process.communicate(timeout=900)
    assert jobs(output) == {"data set digits"}, output


@pytest.mark.slow
@pytest.mark.parametrize("killed", ["all", "snakemake"])
def test_a_killed_run_leaves_whole_files_and_the_next_call_finishes(
    killed, shared, tmp_path, monkeypatch
):
    """Also if only Snakemake is killed and the same command comes at once: its jobs end with it."""
    monkeypatch.setenv("RODFLOW_CHECKPOINT", "0")
    gd = CONFIG["optimizers"]["gd"] | {"learning_rate": 0.1}
    tree = Tree.new(
        tmp_path / "tree", shared, CONFIG | {"optimizers": {"gd": gd}, "flows": ["rod"]}
    )
    process = tree.start(*SNAKEMAKE, "comparisons", *OPTIONS, start_new_session=True)
    with process:
        try:
            wait_for((tree.folder / GD / "discrete.nc").exists, 120)
        finally:
            kill = os.killpg if killed == "all" else os.kill
            kill(process.pid, signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    finished = tree.written()
    whole = {path for path in finished if path.endswith(".nc")}
    assert f"{GD}/comparison.nc" not in whole
    for path in whole:
        artifact.verify(tree.folder / path)

    status, output = tree.snakemake("comparisons")
    assert status == 0, output
    assert (tree.folder / GD / "comparison.nc").exists()
    assert verify_tree(tree.folder / ROOT) == []
    dataset = f"{ROOT}/dataset.nc"
    assert tree.written()[dataset] == finished[dataset]


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stopped_call_ends_its_jobs(shared, tmp_path, monkeypatch, hearing, number):
    """Snakemake by itself would wait for jobs of hours."""
    monkeypatch.setenv("RODFLOW_CHECKPOINT", "0")
    optimizers = {
        name: CONFIG["optimizers"]["adam"] | {"steps": 10**7} for name in ("adam", "rmsprop")
    }
    settings = CONFIG | {"optimizers": optimizers, "snapshots": {"every": 10**4}}
    tree = Tree.new(tmp_path / "tree", shared, settings)
    runs = [f"{ROOT}/mlp/{name}/seed0" for name in optimizers]
    wanted = [f"{run}/discrete.nc" for run in runs]
    with tree.start(*SNAKEMAKE, *wanted, *OPTIONS, "--cores", "2") as process:
        try:
            for run in runs:
                wait_for((tree.folder / run / ".discrete.nc.partial").exists, 120)
            process.send_signal(number)
            process.wait(60)
        finally:
            process.kill()
    assert process.returncode == 1


@pytest.mark.slow
@pytest.mark.parametrize("command", ["run", "everything", "make"])
def test_a_call_ends_with_the_command_that_made_it_though_that_is_killed(
    shared, tmp_path, monkeypatch, command
):
    monkeypatch.setenv("RODFLOW_CHECKPOINT", "0")
    adam = CONFIG["optimizers"]["adam"] | {"steps": 10**7}
    settings = CONFIG | {"optimizers": {"adam": adam}, "snapshots": {"every": 10**4}}
    tree = Tree.new(tmp_path / "tree", shared, settings)
    shutil.copy2(REPOSITORY / "Makefile", tree.folder)
    rodflow = [sys.executable, "-m", "rodflow.cli"]
    call = {
        "run": [*rodflow, "run", "tiny.yaml", "--clone", "."],
        "everything": [*rodflow, "everything", "--configs", "tiny.yaml"],
        "make": ["make", "-o", ".venv", "reproduce", "CONFIG=tiny.yaml"],
    }
    with tree.start(*call[command]) as process:
        wait_for((tree.folder / ADAM / ".discrete.nc.partial").exists, 120)
        process.kill()

    def is_free() -> bool:
        with (tree.folder / ".snakemake/rodflow.lock").open() as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return False
        return True

    wait_for(is_free, 20)


@pytest.mark.slow
@pytest.mark.parametrize("variable", ["HOME", "XDG_CACHE_HOME"])
def test_a_home_that_cannot_be_written_is_no_obstacle(shared, tmp_path, monkeypatch, variable):
    """By the profile Snakemake keeps nothing there."""
    (tmp_path / "file").touch()
    tree = Tree.new(tmp_path / "tree", shared)
    monkeypatch.setenv(variable, str(tmp_path / "file/home"))
    status, output = tree.snakemake(f"{ROOT}/dataset.nc")
    assert status == 0, output


@pytest.mark.slow
def test_two_calls_do_not_run_at_once(shared, tmp_path):
    tree = Tree.new(tmp_path / "tree", shared)
    (tree.folder / ".snakemake").mkdir()
    with open(tree.folder / ".snakemake/rodflow.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        status, output = tree.snakemake("dataset")
    assert (status, jobs(output)) == (1, set()), output
    assert output.splitlines()[-1] == "another call of snakemake is running in this folder"


@pytest.mark.parametrize("thing", ["link", "folder"])
def test_what_stands_where_the_lock_of_a_call_belongs_is_one_line(tmp_path, monkeypatch, thing):
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".snakemake").mkdir()
    (tmp_path / "precious").touch()
    lock = tmp_path / ".snakemake/rodflow.lock"
    lock.symlink_to(tmp_path / "precious") if thing == "link" else lock.mkdir()
    with pytest.raises(SystemExit, match=r"^error: .snakemake/rodflow.lock: cannot be opened \("):
        begin(tmp_path / "results", local=True)


@pytest.mark.slow
def test_another_call_while_files_come_and_go_ends_in_no_traceback(tree):
    """A listing that changes underneath is what jobs of a second experiment make of it."""
    folder, ended = tree.folder / ADAM, threading.Event()

    def come_and_go():
        while not ended.is_set():
            partial = folder / ".coming.nc.partial"
            partial.mkdir()
            (partial / "key").touch()
            (partial / "key").rename(folder / "going.log")
            partial.rmdir()

    (tree.folder / ROOT / "figures/thresholds.png").unlink()
    writer = threading.Thread(target=come_and_go)
    writer.start()
    status, output = tree.snakemake("results/tiny/figures/thresholds.png")
    ended.set()
    writer.join()
    assert (status, jobs(output)) == (0, {"figure thresholds"}), output


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"optimizers": {"adm": {"learning_rate": 0.1}}}, ["optimizers.adm", "adam"]),
        pytest.param(
            {"optimizers": {"gd": {"learning_rate": 0}}},
            ["optimizers.gd.learning_rate", "0"],
            marks=pytest.mark.slow,
        ),
        pytest.param(
            {"dataset": {"name": "digits", "samples": 2000}},
            ["dataset.samples", "2000", "1797"],
            marks=pytest.mark.slow,
        ),
    ],
)
def test_a_bad_config_stops_in_one_line(change, words, tmp_path):
    (tmp_path / "bad.yaml").write_text(yaml.safe_dump(CONFIG | change))
    profile = str(REPOSITORY / "workflow/profiles/default")
    options = ["--configfile", "bad.yaml", "--profile", profile, "--cores", "1"]
    snakefile = ["--snakefile", str(REPOSITORY / "Snakefile")]
    ended = subprocess.run(
        [*SNAKEMAKE, *snakefile, *options], cwd=tmp_path, capture_output=True, text=True
    )
    assert (ended.returncode, ended.stdout) == (1, "")
    using, line = ended.stderr.splitlines()
    assert using.startswith("Using profile")
    assert line.startswith("config: ")
    assert all(word in line for word in words), line
    assert not (tmp_path / "results").exists()


@pytest.mark.slow
def test_the_command_line_changes_lists_and_nested_keys(tmp_path):
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump(CONFIG))
    snakefile = ["--snakefile", str(REPOSITORY / "Snakefile")]
    profile = ["--profile", str(REPOSITORY / "workflow/profiles/default")]
    given = ["--config", "seeds=[5]", "dataset={samples: 30}", "--configfile", "tiny.yaml"]
    ended = subprocess.run(
        [*SNAKEMAKE, "--dry-run", "--printshellcmds", "--cores", "1", *snakefile, *profile, *given],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert ended.returncode == 0, ended.stderr
    output = ended.stdout + ended.stderr
    assert {*re.findall(r"/seed(\d+)/discrete.nc", output)} == {"5"}
    assert '"samples": 30' in output


# A disk that refuses, a clock that jumps, calls side by side


@pytest.mark.slow
def test_files_of_a_clock_that_was_ahead_run_nothing_and_the_next_job_dates_them(tree):
    """Dates of the future would be newer than what is made now, at every call until the clock is there again."""
    ahead = time.time() + 86400
    results = [path for path in (tree.folder / ROOT).rglob("*") if path.is_file()]
    for path in [*results, *(tree.folder / "src").rglob("*.py")]:
        os.utime(path, (ahead, ahead))
    status, output = tree.snakemake()
    assert (status, jobs(output)) == (0, set()), output
    (tree.folder / ROOT / "figures/thresholds.png").unlink()
    status, output = tree.snakemake()
    assert (status, jobs(output)) == (0, {"figure thresholds", MANIFEST, AUDIT}), output
    assert re.search(r"^note: dated now, for the clock was ahead: .+ and \d+ more$", output, re.M)
    results = [path for path in (tree.folder / ROOT).rglob("*") if path.is_file()]
    assert all(path.stat().st_mtime < ahead for path in results)


@pytest.mark.slow
def test_an_input_of_the_future_is_counted_as_made_now_once(tree):
    ahead = time.time() + 86400
    os.utime(tree.folder / ROOT / "figures/thresholds.csv", (ahead, ahead))
    status, output = tree.snakemake()
    assert (status, jobs(output)) == (0, {MANIFEST, AUDIT}), output
    status, output = tree.snakemake()
    assert (status, jobs(output)) == (0, set()), output


def refused(tree: Tree) -> str:
    """The last line of a call that could not write its results."""
    status, output = tree.snakemake("results/tiny/dataset.nc")
    assert status == 1 and jobs(output) == set() and "Traceback" not in output, output
    return output.splitlines()[-1]


@pytest.mark.slow
def test_a_file_in_the_place_of_the_results_is_one_line(shared, tmp_path):
    tree = Tree.new(tmp_path / "tree", shared)
    (tree.folder / "results").write_text("mine")
    words = "cannot be written: Not a directory; move the file that stands where a folder is needed"
    assert refused(tree) == f"error: {ROOT}: {words}"
    assert (tree.folder / "results").read_text() == "mine"


@pytest.fixture
def disk(shared, tmp_path) -> Iterator[tuple[Tree, Callable[[str], None]]]:
    """A tree with its results on a disk of its own, and a function that mounts it again with other options."""
    tree = Tree.new(tmp_path / "tree", shared)
    place = tree.folder / "results"
    place.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", place], stderr=subprocess.DEVNULL
    )
    if mounted.returncode:
        pytest.skip("a disk can be mounted by root only")

    def remount(options: str) -> None:
        subprocess.run(["mount", "-o", f"remount,{options}", place], check=True)

    try:
        yield tree, remount
    finally:
        subprocess.run(["umount", "--lazy", place], check=True)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="needs mount")
def test_a_disk_that_refuses_is_one_line_and_loses_nothing(disk):
    tree, remount = disk
    remount("ro")
    words = "cannot be written: Read-only file system; make its folder writable and run again"
    assert refused(tree) == f"error: {ROOT}: {words}"

    remount("rw,size=160k")  # enough for the data set, not for the runs
    status, output = tree.snakemake("comparisons")
    assert status == 1
    full = r"^error: results/tiny/.+: cannot be written: No space left on device; free some space"
    assert re.search(full, output, re.M) or "No space left" in output, output
    whole = [*(tree.folder / ROOT).rglob("*.nc")]
    assert whole and tree.folder / GD / "comparison.nc" not in whole
    for path in whole:
        artifact.verify(path)
    before = tree.written()

    remount("rw,size=64m")
    status, output = tree.snakemake("comparisons")
    assert status == 0, output
    assert verify_tree(tree.folder / ROOT) == []
    kept = {path.relative_to(tree.folder).as_posix() for path in whole}
    assert all(tree.written()[path] == before[path] for path in kept)


def is_locked(path: Path) -> bool:
    """Whether a process holds a lock on a file."""
    if not path.exists():
        return False
    inode = path.stat().st_ino
    return any(f":{inode} " in line for line in Path("/proc/locks").read_text().splitlines())


@pytest.mark.slow
def test_a_second_call_is_refused_and_the_first_finishes(shared, tmp_path):
    tree = Tree.new(tmp_path / "tree", shared)
    first = tree.start(*SNAKEMAKE, f"{ADAM}/discrete.nc", *OPTIONS)
    wait_for(lambda: is_locked(tree.folder / ".snakemake/rodflow.lock"))
    first.send_signal(signal.SIGSTOP)  # so that it cannot end before the second one has begun
    status, output = tree.snakemake(f"{ADAM}/discrete.nc")
    first.send_signal(signal.SIGCONT)
    assert (status, jobs(output)) == (1, set()), output
    assert output.splitlines()[-1] == "another call of snakemake is running in this folder"
    output, _ = first.communicate(timeout=900)
    assert first.returncode == 0, output
    artifact.verify(tree.folder / ADAM / "discrete.nc")


@pytest.mark.slow
def test_clones_that_share_compiled_programs_agree_to_the_last_bit(shared, tmp_path):
    """Two at once find an empty cache, a third, on two cores, what killed writers leave of one."""
    both = tmp_path / "both"
    both.mkdir()
    shutil.copy(shared / "sitecustomize.py", both)
    config = CONFIG | {"optimizers": {"adam": CONFIG["optimizers"]["adam"]}, "replicas": 0}
    trees = [Tree.new(tmp_path / name, both, config) for name in ("one", "two", "three")]
    calls = [tree.start(*SNAKEMAKE, *OPTIONS[:-1], "1") for tree in trees[:2]]
    for call in calls:
        output, _ = call.communicate(timeout=600)
        assert call.returncode == 0, output
    programs = [path for path in (both / "cache").rglob("*-cache") if path.is_file()]
    assert programs
    for path in programs:
        os.truncate(path, path.stat().st_size // 2)
    status, output = trees[2].snakemake()
    assert status == 0, output
    for tree in trees[1:]:
        found = agree(trees[0].folder / ROOT, tree.folder / ROOT)
        assert found.files == found.identical and not found.faults, as_text(found)
        assert {"trajectory", "sharpness", "figure, png", "claim"} <= found.files.keys()
