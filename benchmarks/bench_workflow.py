"""What a call of Snakemake costs that has nothing to do: `make reproduce` once more, for the default experiment."""

import os
import shutil
import sys
from pathlib import Path

from measuring import experiment, spent

from rodflow.config import plan

REPOSITORY = Path(__file__).parents[1]
CALL = [sys.executable, "-m", "snakemake", "--profile", "workflow/profiles/default"]


def test_nothing_to_do(benchmark, tmp_path):
    """Files without content stand for the results: whether they are up to date is a question of dates."""
    benchmark.group = "workflow"
    for part in ("workflow", "src"):
        ignored = shutil.ignore_patterns("__pycache__", "*.egg-info")
        shutil.copytree(REPOSITORY / part, tmp_path / part, ignore=ignored)
    for file in ("Snakefile", "config.yaml"):
        shutil.copy2(REPOSITORY / file, tmp_path)
    root = tmp_path / "results" / experiment().name
    files = plan.expected_files(experiment()) | {"audit.json", "audit.md", "manifest.sha256"}
    for file in files:
        (root / file).parent.mkdir(parents=True, exist_ok=True)
        (root / file).touch()

    environment = {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(tmp_path / "src"),
    }
    spent([*CALL, "--touch", "--forceall"], tmp_path, **environment)
    known = [file for file in (tmp_path / ".snakemake/metadata").rglob("*") if file.is_file()]
    assert len(known) >= len(files)  # so that settings and code are compared too
    found = []
    benchmark.pedantic(lambda: found.append(spent(CALL, tmp_path, **environment)), rounds=3)
    assert all("Nothing to be done" in one.said for one in found)
    benchmark.extra_info.update(
        files=len(files),
        seconds=min(one.seconds for one in found),
        processor=min(one.processor for one in found),
    )
