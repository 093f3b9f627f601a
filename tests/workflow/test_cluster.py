"""The workflow through a batch system: each job submitted to a queue, and the profiles for that."""

import sys
from pathlib import Path

import pytest
import yaml

from workflow.test_pipeline import CONFIG, REPOSITORY, SNAKEMAKE, Tree, jobs

PROFILES = REPOSITORY / "workflow/profiles"
QUEUE = f"{sys.executable} {Path(__file__).parents[1] / 'local_queue.py'}"


def profile(name: str) -> dict:
    return yaml.safe_load((PROFILES / name / "config.yaml").read_text())


@pytest.mark.parametrize("name", ["gpu", "slurm", "cluster"])
def test_profiles_differ_in_where_jobs_run_only(name):
    own = {"executor", "jobs", "latency-wait", "cores", "default-resources", "resources"}
    own |= {"local-cores", "retries"}
    shared = {
        key: value
        for key, value in profile(name).items()
        if key not in own and not key.startswith("cluster-generic")
    }
    default = profile("default")
    del default["cores"]
    assert shared == default


@pytest.mark.slow
def test_an_experiment_goes_through_a_queue_to_its_audit(tmp_path, monkeypatch):
    queue = tmp_path / "queue"
    queue.mkdir()
    monkeypatch.setenv("LOCAL_QUEUE", str(queue))
    gd = {"learning_rate": 0.1, "start": 5, "steps": 20}
    smaller = {"optimizers": {"gd": gd}, "flows": [], "replicas": 0, "figures": []}
    tree = Tree.new(tmp_path / "tree", tmp_path, CONFIG | smaller)
    status, output = tree.call(
        *SNAKEMAKE,
        *("--configfile", "tiny.yaml", "--profile", "workflow/profiles/cluster"),
        *(
            "--cluster-generic-submit-cmd",
            f"{QUEUE} submit {{threads}} {{resources.mem_mb}} {{resources.gpu}} {{rule}}",
        ),
        *("--cluster-generic-status-cmd", f"{QUEUE} status"),
        *("--default-resources", "gpu=1"),
        *("--seconds-between-status-checks", "1", "--latency-wait", "5"),
    )
    outputs = "\n".join(path.read_text() for path in sorted(queue.glob("*.output")))
    assert status == 0, output + outputs
    assert (tree.folder / "results/tiny/audit.json").exists()
    asked = {path.read_text() for path in queue.glob("*.asked")}
    assert asked == {
        "1 2000 1 discrete",
        "1 2000 1 sharpness",
        "1 1000 0 comparison",
        "8 4000 0 audit",
    }

    status, output = tree.call(
        *SNAKEMAKE, "--configfile", "tiny.yaml", "--profile", "workflow/profiles/default"
    )
    assert (status, jobs(output)) == (0, set()), output
