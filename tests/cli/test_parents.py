"""A job ends with the workflow that called it."""

import os
import subprocess
import sys

from rodflow.cli.parents import CALLER, is_alive

JOB = """
import sys, time
from rodflow.cli import parents
parents.PAUSE = 0.05
parents.die_with_the_workflow()
print("runs", flush=True)
time.sleep({seconds})
print("ended")
"""


def job(caller: int, seconds: float) -> subprocess.Popen[str]:
    environment = os.environ | {CALLER: str(caller)}
    command = [sys.executable, "-c", JOB.format(seconds=seconds)]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)


def test_a_job_ends_when_its_workflow_is_killed():
    workflow = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    with job(workflow.pid, 60) as started:
        assert started.stdout.readline() == "runs\n"
        workflow.kill()
        workflow.wait()
        assert started.wait(10) == 1


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
