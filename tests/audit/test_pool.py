"""Processes of an audit: they end with it, and one that is lost to an item does not end the others' work."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from rodflow.audit.pool import pool

# Where JAX is loaded, a test may have its threads; the audit starts its processes before.
pytestmark = pytest.mark.filterwarnings("ignore")


def squared(number: int) -> int:
    """A number squared by a process that 3 kills."""
    if number == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return number**2


@pytest.mark.parametrize("workers", [1, 2])
def test_items_come_back_in_order(workers):
    with pool(workers) as each:
        assert [*each(abs, [-3, 2, -1], lost=abs)] == [3, 2, 1]


def test_an_item_that_kills_its_process_is_lost_and_no_other():
    with pool(2) as each:
        assert [*each(squared, range(6), lost=lambda number: -number)] == [0, 1, 4, -3, 16, 25]


def test_processes_of_a_later_call_know_what_was_found_before():
    known = []
    with pool(2) as each:
        known += each(abs, [-1], lost=abs)
        assert [*each(total, [known], lost=sum)] == [1]


def total(numbers: list[int]) -> int:
    return sum(numbers)


CODE = """
import os, sys, time
from rodflow.audit.pool import pool

def wait(path):
    with open(f"{path}{os.getpid()}", "w"):
        time.sleep(100)

with pool(2) as each:
    list(each(wait, sys.argv[1:] * 2, lost=abs))
"""


def alive(process: int) -> bool:
    try:
        state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


@pytest.mark.skipif(sys.platform != "linux", reason="looks at /proc")
def test_processes_end_with_an_audit_that_is_killed(tmp_path):
    audit = subprocess.Popen([sys.executable, "-c", CODE, f"{tmp_path}/"])
    deadline = time.monotonic() + 30
    while len(found := [*tmp_path.iterdir()]) < 2:
        assert time.monotonic() < deadline and audit.poll() is None
        time.sleep(0.05)
    audit.kill()
    audit.wait()
    processes = [int(path.name) for path in found]
    while any(map(alive, processes)):
        assert time.monotonic() < deadline
        time.sleep(0.1)
