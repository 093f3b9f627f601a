"""Jobs in copies of the warm process behave as jobs by themselves do.

What a job does is code here, in place of a command: the process hands its arguments to `exec`.
"""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from rodflow.cli import server
from rodflow.cli.warm import start
from rodflow.config import uses

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="there is no warm process")

SERVER = """
import os, sys, time
from pathlib import Path
from rodflow.cli import main, server
main.run = lambda words: exec(words[0])
server.prepared = lambda: iter(())
server.serve(Path(sys.argv[1]))
"""
JOB = """
import sys
from rodflow.cli import warm
status = warm.handed_over(sys.argv[1:])
print("alone") if status is None else sys.exit(status)
"""
STARTER = """
import os, time
from rodflow.cli import warm
warm.start()
print(os.environ[warm.WARM], flush=True)
time.sleep({seconds})
"""


@pytest.fixture(scope="module")
def warm(tmp_path_factory):
    """The environment of a job, with the socket of a warm process."""
    path = tmp_path_factory.mktemp("warm") / "folder" / "socket"
    path.parent.mkdir()
    process = subprocess.Popen([sys.executable, "-c", SERVER, path], stdin=subprocess.PIPE)
    wait_for(path.exists)
    yield os.environ | {"RODFLOW_WARM": str(path)}
    process.communicate(timeout=60)
    assert not path.parent.exists()


def wait_for(condition, seconds=60):
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, "waited in vain"
        time.sleep(0.02)


def job(body, environment, **options):
    """A job that does this."""
    command = [sys.executable, "-c", JOB, body]
    return subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=60, **options
    )


def test_jobs_are_copies_of_one_process(warm):
    parents = {job("print(os.getppid())", warm).stdout for _ in range(2)}
    assert len(parents) == 1 and parents.pop().strip().isdecimal()


def test_the_copy_has_the_folder_and_the_environment_of_the_job(warm, tmp_path):
    body = "print(os.getcwd(), os.environ['OWN'], 'RODFLOW_WARM' in os.environ)"
    found = job(body, warm | {"OWN": "value"}, cwd=tmp_path)
    assert found.stdout == f"{tmp_path} value False\n"


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        ("pass", 0, ""),
        ("sys.exit(3)", 3, ""),
        ("sys.exit('error: so it is')", 1, "error: so it is"),
        ("raise KeyError('absent')", 1, "KeyError: 'absent'"),
        ("os.kill(os.getpid(), 9)", 1, "the job was killed"),
    ],
)
def test_status_and_errors_are_those_of_the_job(warm, body, status, words):
    found = job(body, warm)
    assert found.returncode == status
    assert words in found.stderr


def test_the_copy_dies_with_the_job(warm, tmp_path):
    mark = tmp_path / "pid"
    body = f"open({str(mark)!r}, 'w').write(str(os.getpid())); time.sleep(300)"
    client = subprocess.Popen([sys.executable, "-c", JOB, body], env=warm)
    wait_for(lambda: mark.exists() and mark.read_text())
    copy = int(mark.read_text())
    assert copy != client.pid
    client.send_signal(signal.SIGKILL)
    client.wait()
    wait_for(lambda: not Path(f"/proc/{copy}").exists())


def test_without_the_process_a_job_runs_by_itself(tmp_path):
    assert job("", os.environ | {"RODFLOW_WARM": str(tmp_path / "gone")}).stdout == "alone\n"


@pytest.mark.parametrize(
    ("seconds", "kill"),
    [(0, False), pytest.param(300, True, marks=pytest.mark.slow)],
    ids=["at once", "killed"],
)
def test_the_process_ends_with_the_one_that_started_it(seconds, kill):
    """Also where that ends while this one is still starting, or is killed."""
    starter = subprocess.Popen(
        [sys.executable, "-c", STARTER.format(seconds=seconds)], stdout=subprocess.PIPE, text=True
    )
    path = Path(starter.stdout.readline().strip())
    if kill:
        wait_for(path.exists)
        starter.kill()
    starter.communicate()
    mark = str(path).encode()
    wait_for(lambda: not path.parent.exists())
    wait_for(lambda: not [pid for pid in running() if mark in command_line(pid)])


def running():
    return [path for path in Path("/proc").iterdir() if path.name.isdecimal()]


def command_line(process):
    try:
        return (process / "cmdline").read_bytes()
    except OSError:
        return b""


@pytest.mark.slow
def test_what_is_loaded_beforehand_starts_no_threads_and_no_backend():
    """A copy has none of its original's threads."""
    check = (
        "import os, importlib; from rodflow.cli import environment, server; "
        "environment.prepare(); [importlib.import_module(name) for name in server.MODULES]; "
        "import jax; assert not jax._src.xla_bridge._backends; "
        "print(len(os.listdir('/proc/self/task')))"
    )
    found = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True)
    assert found.stdout == "1\n", found.stderr


@pytest.mark.slow
def test_the_program_of_an_adaptive_flow_has_no_callback_and_so_is_kept():
    """JAX keeps no program that calls back in its compilation cache; a solver's error is NaN instead."""
    body = """
from rodflow.cli import environment
environment.prepare()
import jax, optax
import jax.numpy as jnp
from rodflow.config.catalogue import FLOWS
from rodflow.optimizers.optimizer_map import optimizer_map
optimizer = optimizer_map(lambda w: jnp.sum(w**2), optax.sgd(0.1), jnp.ones(2))
flow, state = FLOWS.load("stable").process(), optimizer.initial(jnp.ones(2))
carry = flow.begin(optimizer, state, state, state)
advance = jax.jit(lambda carry: flow.advance(optimizer, carry, jax.random.key(0)))
print("callback" in advance.lower(carry).as_text())
"""
    found = subprocess.run([sys.executable, "-c", body], capture_output=True, text=True)
    assert found.stdout == "False\n", found.stderr


def test_in_a_folder_with_a_name_too_long_for_a_socket_jobs_run_by_themselves(
    tmp_path, monkeypatch
):
    folder = tmp_path / ("a" * 100)
    folder.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    monkeypatch.delenv("RODFLOW_WARM", raising=False)
    assert start() == []
    assert "RODFLOW_WARM" not in os.environ
    assert not [*folder.iterdir()]


def test_a_process_that_fails_leaves_no_folder_and_jobs_run_by_themselves(tmp_path):
    path = tmp_path / "folder" / "socket"
    path.parent.mkdir()
    broken = SERVER.replace("iter(())", "1 / 0")
    command = [sys.executable, "-c", broken, path]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        assert process.wait(60) == 1
    assert not path.parent.exists()
    assert job("", os.environ | {"RODFLOW_WARM": str(path)}).stdout == "alone\n"


def test_a_job_that_is_gone_before_it_said_what_it_wants_leaves_the_process_as_it_is(warm):
    for _ in range(3):
        with socket.socket(socket.AF_UNIX) as gone:
            gone.connect(warm["RODFLOW_WARM"])
    assert job("print('done')", warm).stdout == "done\n"


def test_a_process_that_is_killed_before_it_took_a_job_is_one_line(tmp_path):
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "socket"))
        server.listen()
        client = subprocess.Popen(
            [sys.executable, "-c", JOB, "pass"],
            env=os.environ | {"RODFLOW_WARM": str(tmp_path / "socket")},
            stderr=subprocess.PIPE,
            text=True,
        )
        connection, _ = server.accept()
        connection.recv(1)
        connection.close()  # with unread bytes, so that the other end is reset
    _, said = client.communicate(timeout=60)
    assert client.returncode == 1
    assert said == "error: the job was killed, perhaps for want of memory\n"


@pytest.mark.slow
def test_no_job_reads_code_again_for_its_digest(monkeypatch):
    for _ in server.prepared():
        pass
    read = []
    monkeypatch.setattr(Path, "read_bytes", lambda path: read.append(path) or b"")
    settings = {"optimizer": {"name": "adam"}, "model": {"kind": "mlp"}}
    for flow in ("", "rod", "stable"):
        assert uses.code("flow" if flow else "train", settings, flow=flow)
    assert read == []
