"""Jobs in copies of the warm process behave as jobs by themselves do."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).parents[2] / "workflow/scripts"
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="there is no warm process")

JOB = """
import os, sys, time
sys.path.insert(0, {scripts!r})
import stage

def main():
    {body}

stage.run(main)
"""


@pytest.fixture(scope="module")
def warm(tmp_path_factory):
    """The environment of a job, with the socket of a warm process that has loaded everything."""
    path = tmp_path_factory.mktemp("warm") / "folder" / "socket"
    path.parent.mkdir()
    process = subprocess.Popen([sys.executable, SCRIPTS / "warm.py", path])
    wait_for(path.exists)
    yield os.environ | {"RODFLOW_WARM": str(path)}
    process.terminate()
    process.wait()


def wait_for(condition, seconds=30):
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, "waited in vain"
        time.sleep(0.02)


@pytest.fixture
def job(tmp_path):
    """A function that writes a script with this body and runs it."""

    def run(body, environment, **options):
        script = tmp_path / "job.py"
        script.write_text(JOB.format(scripts=str(SCRIPTS), body=body))
        command = [sys.executable, script, "--an", "argument"]
        return subprocess.run(
            command, env=environment, capture_output=True, text=True, timeout=60, **options
        )

    return run


def test_a_job_becomes_a_copy_of_the_process(job, warm):
    assert job("print(os.getppid())", warm).stdout == job("print(os.getppid())", warm).stdout
    assert "jax" not in job("print('\\n'.join(sys.modules))", os.environ).stdout.split()


def test_the_copy_has_the_arguments_folder_and_environment_of_the_job(job, warm, tmp_path):
    body = "print(sys.argv[1:], os.getcwd(), os.environ['OWN'])"
    found = job(body, warm | {"OWN": "value"}, cwd=tmp_path)
    assert found.stdout == f"['--an', 'argument'] {tmp_path} value\n"


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        ("pass", 0, ""),
        ("sys.exit(3)", 3, ""),
        ("sys.exit('error: so it is')", 1, "error: so it is"),
        ("raise KeyError('absent')", 1, "KeyError: 'absent'"),
        (
            "from rodflow.problem.objective import ObjectiveError as E; raise E('one line')",
            1,
            "error: one line",
        ),
        ("os.kill(os.getpid(), 9)", 1, "the job was killed"),
    ],
)  # fmt: skip
def test_status_and_errors_are_those_of_the_job(job, warm, body, status, words):
    found = job(body, warm)
    assert found.returncode == status
    assert words in found.stderr


def test_the_copy_dies_with_the_job(warm, tmp_path):
    script, mark = tmp_path / "job.py", tmp_path / "pid"
    body = f"open({str(mark)!r}, 'w').write(str(os.getpid())); time.sleep(60)"
    script.write_text(JOB.format(scripts=str(SCRIPTS), body=body))
    client = subprocess.Popen([sys.executable, script], env=warm)
    wait_for(lambda: mark.exists() and mark.read_text())
    copy = int(mark.read_text())
    assert copy != client.pid
    client.send_signal(signal.SIGKILL)
    client.wait()
    wait_for(lambda: not Path(f"/proc/{copy}").exists())


def test_without_the_process_a_job_runs_by_itself(job, tmp_path):
    gone = os.environ | {"RODFLOW_WARM": str(tmp_path / "gone")}
    assert job("print(os.getppid())", gone).stdout == f"{os.getpid()}\n"


def test_the_process_ends_with_the_one_that_started_it(tmp_path):
    starter = f"import sys; sys.path.insert(0, {str(SCRIPTS)!r}); import os, warm; warm.start(); "
    wait = "import time; time.sleep(1); print(os.environ['RODFLOW_WARM'])"
    found = subprocess.run([sys.executable, "-c", starter + wait], capture_output=True, text=True)
    path = Path(found.stdout.strip())
    assert path.name
    wait_for(lambda: not path.parent.exists())


def test_what_is_loaded_beforehand_starts_no_threads_and_no_backend():
    """A copy has none of its original's threads."""
    check = (
        f"import sys, os; sys.path.insert(0, {str(SCRIPTS)!r}); import stage, warm, importlib; "
        "stage.environment(); [importlib.import_module(name) for name in warm.MODULES]; "
        "import jax; assert not jax._src.xla_bridge._backends; "
        "print(len(os.listdir('/proc/self/task')))"
    )
    found = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True)
    assert found.stdout == "1\n", found.stderr


def test_the_program_of_an_adaptive_flow_has_no_callback_and_so_is_kept(job, warm):
    """JAX keeps no program that calls back in its compilation cache."""
    body = """
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
    found = job(body.strip(), warm)
    assert found.stdout == "False\n", found.stderr
