"""The whole journey as a shell runs it: processes joined by pipes, one JSON object at the end."""

import json
import os
import shutil
import subprocess
import sys

import pytest

PIPE = """
set -euo pipefail
recxfer() { "$PYTHON" -m recxfer "$@"; }
recxfer prepare synthetic data/toy --set users=120 --set items=40 --set events_per_user=12 |
  recxfer pretrain - runs/toy --epochs 1 --set width=8 --set max_length=16 |
  recxfer transfer - data/toy runs/toy-age --method peterrec --task profile:age --epochs 1 |
  recxfer evaluate - --json
"""

BROKEN = """
set -euo pipefail
recxfer() { "$PYTHON" -m recxfer "$@"; }
recxfer prepare absent.csv toy --json | recxfer pretrain - run
"""


def bash(script, folder):
    return subprocess.run(
        ["bash", "-c", script],
        cwd=folder,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHON": sys.executable, "OMP_NUM_THREADS": "1"},
        stdin=subprocess.DEVNULL,
    )


pytestmark = pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")


@pytest.mark.slow
def test_the_journey_fits_one_pipe(tmp_path):
    done = bash(PIPE, tmp_path)
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    told = json.loads(done.stdout)
    (run,) = told["runs"]
    assert (run["method"], run["task"]) == ("peterrec", "profile:age")
    assert (tmp_path / told["path"]).exists()


def test_a_failure_upstream_fails_the_pipe_and_leaves_nothing(tmp_path):
    done = bash(BROKEN, tmp_path)
    assert done.returncode == 2
    first, *rest = done.stderr.splitlines()
    assert json.loads(first)["exit_code"] == 3
    assert rest[0].startswith("error: `-` reads a path from standard input, but nothing came")
    assert done.stdout == ""
    assert list(tmp_path.iterdir()) == []
