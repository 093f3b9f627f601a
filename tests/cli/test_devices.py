"""A job has its GPUs to itself. There is none here: nvidia-smi and JAX's plugin are stand-ins, the locks are real."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

SOURCES = Path(__file__).parents[2] / "src"
JOB = """
import json, os, sys
from rodflow.cli import devices
devices.time.sleep = lambda seconds: sys.exit("waits")
devices.take_devices({settings!r})
print(os.environ.get("CUDA_VISIBLE_DEVICES"), flush=True)
sys.stdin.read()
"""


@pytest.fixture
def machine(tmp_path):
    """The environment of jobs on a machine with two GPUs."""
    (tmp_path / "jax_cuda12_plugin").mkdir()
    # All that take_devices asks of JAX: the real one would take two seconds a job.
    (tmp_path / "jax.py").write_text("class config:\n    update = print\n")
    smi = tmp_path / "nvidia-smi"
    smi.write_text("#!/bin/sh\necho GPU-a\necho GPU-b\n")
    smi.chmod(0o755)
    own = {k: v for k, v in os.environ.items() if k not in ("XDG_RUNTIME_DIR", "JAX_PLATFORMS")}
    return own | {
        "PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": f"{tmp_path}{os.pathsep}{SOURCES}",
        "TMPDIR": str(tmp_path),
    }


@pytest.fixture
def job():
    """A function that starts a job, and says which devices it has; they all live to the end of the test."""
    started = []

    def start(environment, devices=1):
        settings = {"compute": {"devices": devices}} if devices > 1 else {}
        text = JOB.format(settings=settings)
        pipes = {name: subprocess.PIPE for name in ("stdin", "stdout", "stderr")}
        process = subprocess.Popen(
            [sys.executable, "-c", text], env=environment, text=True, **pipes
        )
        started.append(process)
        # The job's last line ends with what it has; without the first there is an end, and no wait for ever.
        for line in process.stdout:
            if not line.startswith("jax_"):
                return line.strip()
        return process.communicate()[1].strip()

    yield start
    for process in started:
        process.kill()
        process.communicate()


def test_jobs_take_a_gpu_each_and_the_third_waits(job, machine):
    assert [job(machine) for _ in range(3)] == ["GPU-a", "GPU-b", "waits"]


def test_a_job_takes_as_many_as_its_settings_want(job, machine):
    assert job(machine, devices=2) == "GPU-a,GPU-b"
    assert job(machine) == "waits"


def test_a_job_that_cannot_have_all_keeps_none(job, machine):
    assert job(machine) == "GPU-a"
    assert job(machine, devices=2) == "waits"
    assert job(machine) == "GPU-b"


def test_a_job_keeps_to_the_gpus_that_are_visible(job, machine):
    """Numbers are those of this machine, so that jobs that see one GPU each by the same number do not wait."""
    assert job(machine | {"CUDA_VISIBLE_DEVICES": "1"}) == "GPU-b"
    assert job(machine | {"CUDA_VISIBLE_DEVICES": "GPU-b"}) == "waits"
    assert job(machine | {"CUDA_VISIBLE_DEVICES": "MIG-c"}) == "MIG-c"


def test_products_on_a_gpu_are_of_full_precision(machine):
    text = JOB.format(settings={})
    ended = subprocess.run(
        [sys.executable, "-c", text], env=machine, text=True, capture_output=True, input=""
    )
    assert ended.stdout.splitlines() == ["jax_default_matmul_precision highest", "GPU-a"]


@pytest.mark.parametrize("change", [{"JAX_PLATFORMS": "cpu"}, {"PATH": "/none"}])
def test_nothing_is_taken_without_gpus(machine, change):
    text = JOB.format(settings={})
    ended = subprocess.run(
        [sys.executable, "-c", text], env=machine | change, text=True, capture_output=True, input=""
    )
    assert ended.stdout == "None\n", ended.stderr
