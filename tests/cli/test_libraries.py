"""Variables by which a library would stop a job do not hold, or are named in one line."""

import subprocess
import sys

import pytest

from rodflow.cli import libraries
from rodflow.cli.environment import EnvironmentRefused


@pytest.mark.parametrize("name", libraries.REMOVED)
def test_what_would_stop_a_library_is_taken_out_and_said(name):
    found = {name: "nonsense", "HOME": "/"}
    (line,) = libraries.prepare(found)
    assert line.startswith(f"{name}=nonsense does not hold in a job: ")
    assert found == {"HOME": "/"}


@pytest.mark.parametrize("pause", ["", "soon", "-1", "nan"])
def test_a_pause_between_saves_that_is_no_time_is_refused(pause):
    with pytest.raises(EnvironmentRefused, match=f"^RODFLOW_CHECKPOINT={pause}: must be the"):
        libraries.prepare({"RODFLOW_CHECKPOINT": pause})


@pytest.mark.parametrize("pause", ["0", "2.5", "1e3"])
def test_a_pause_between_saves_stays(pause):
    found = {"RODFLOW_CHECKPOINT": pause}
    assert libraries.prepare(found) == ()
    assert found == {"RODFLOW_CHECKPOINT": pause}


@pytest.mark.parametrize(
    ("name", "text", "blamed"),
    [
        ("JAX_NUM_CPU_DEVICES", 'Invalid value "x" for JAX flag jax_num_cpu_devices', True),
        ("JAX_LOG_COMPILES", "invalid truth value 'x' for environment 'JAX_LOG_COMPILES'", True),
        ("JAX_PLATFORMS", "Unable to initialize backend (set JAX_PLATFORMS='')\n", True),
        ("JAX_PLATFORMS", "shapes do not fit", False),
        ("HOME", "no HOME", False),
    ],
)
def test_an_error_that_comes_of_a_variable_of_jax_names_it(name, text, blamed):
    line = libraries.blamed(ValueError(text), {name: "x\x1b"})
    assert line.startswith(f"{name}=x\\x1b: ") if blamed else line == ""
    assert line.isprintable()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("variable", "value"), [("JAX_PLATFORMS", "abacus"), ("JAX_NUM_CPU_DEVICES", "many")]
)
def test_a_stage_says_which_variable_stops_it(tmp_path, monkeypatch, variable, value):
    monkeypatch.setenv(variable, value)
    stage = ["stage", "toy", "--root", str(tmp_path), "--output", str(tmp_path / "toy.nc")]
    command = [sys.executable, "-m", "rodflow.cli", *stage]
    found = subprocess.run(command, capture_output=True, text=True)
    assert found.returncode == 1
    assert found.stderr.splitlines()[-1].startswith(f"error: {variable}={value}: ")
    assert "Traceback" not in found.stderr
