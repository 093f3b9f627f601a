"""A job ends with the workflow that called it."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from rodflow.cli.beginning import begin
from rodflow.cli.parents import CALLER, is_alive

JOB = """
import sys, time
from rodflow.cli import parents
parents.PAUSE = 0.05
parents.die_with_the_caller()
print("runs", flush=True)
time.sleep({seconds})
print("ended")
"""

CALL = """
import signal, subprocess, threading
from rodflow.cli import parents
parents.PAUSE = 0.05
start = lambda: subprocess.Popen("sleep 300; true", shell=True, stdout=subprocess.DEVNULL)
kept = subprocess.Popen(["sleep", "300"], stdout=subprocess.DEVNULL)
jobs = [start() for _ in range(3)]
for job in jobs:
    threading.Thread(target=job.wait).start()  # as Snakemake waits, so that a job is gone as soon as it ended
told = threading.Event()
signal.signal(signal.SIGTERM, lambda *_: told.set())
parents.end_jobs_when_stopped(keep=[kept.pid])
try:
    print("runs", flush=True)
    told.wait()
except KeyboardInterrupt:
    pass
for job in (*jobs, start()):
    job.wait()
print("ended", kept.poll())
kept.kill()
"""


def job(caller: int, seconds: float) -> subprocess.Popen[str]:
    environment = os.environ | {CALLER: str(caller)}
    command = [sys.executable, "-c", JOB.format(seconds=seconds)]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)


def test_a_job_ends_when_its_workflow_is_killed():
    workflow = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(300)"])
    with job(workflow.pid, 300) as started:
        assert started.stdout.readline() == "runs\n"
        workflow.kill()
        workflow.wait()
        assert started.wait(60) == 1


def test_a_workflow_that_nobody_has_waited_for_is_gone():
    workflow = subprocess.Popen([sys.executable, "-c", "pass"])
    os.waitid(os.P_PID, workflow.pid, os.WEXITED | os.WNOWAIT)
    assert not is_alive(workflow.pid)
    workflow.wait()
    assert not is_alive(workflow.pid)


def test_a_job_of_a_living_workflow_runs_to_its_end():
    with job(os.getpid(), 0.3) as started:
        assert started.communicate()[0] == "runs\nended\n"
    assert started.returncode == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_call_that_alone_is_told_to_stop_ends_all_its_jobs(hearing, number):
    """Also the one that it was about to start, and each though those before it are gone already."""
    with subprocess.Popen([sys.executable, "-c", CALL], stdout=subprocess.PIPE, text=True) as call:
        assert call.stdout.readline() == "runs\n"
        call.send_signal(number)
        assert call.communicate(timeout=60)[0] == "ended None\n"


def test_a_call_that_is_deaf_to_interrupts_stays_so():
    deaf = "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN)"
    look = "print(signal.getsignal(signal.SIGINT) is signal.SIG_IGN)"
    body = f"{deaf}; from rodflow.cli import parents; parents.end_jobs_when_stopped(()); {look}"
    found = subprocess.run([sys.executable, "-c", body], capture_output=True, text=True)
    assert found.stdout == "True\n", found.stderr


def test_jobs_of_a_cluster_are_told_of_no_caller(tmp_path, monkeypatch):
    """Its number would be another process there, or none, and they would end at once."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(CALLER, "1")
    begin(Path("results/tiny"), local=False)
    assert CALLER not in os.environ
