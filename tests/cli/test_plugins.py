"""Plug-ins of an installed distribution, through the command line of a process of its own."""

import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from recxfer.foundation import tensors
from recxfer.foundation.names import CHECKPOINT
from recxfer.methods import METHODS

ENTRY_POINTS = """
[recxfer.methods]
only-biases = x_method:OnlyBiases
lora = x_method:OnlyBiases
broken = x_gone:Method

[recxfer.sources]
pairs = x_source:Pairs
"""

METHOD = '''
from recxfer.methods.bitfit import BitFit
class OnlyBiases(BitFit):
    """Train biases, elsewhere."""
'''

SOURCE = '''
import polars as pl
from recxfer.preparing.sources.format import Format
class Pairs(Format):
    """Read pairs with a plus between."""
    suffixes = (".pairs",)
    def scan(self, paths, *, header):
        return pl.scan_csv(list(paths), separator="+", infer_schema=False)
'''

RUN = """
import json, sys
from typer.testing import CliRunner
from recxfer.cli.app import app
told = []
for words in json.loads(sys.argv[1]):
    done = CliRunner().invoke(app, words)
    told.append([done.exit_code, done.stdout, done.stderr])
print(json.dumps(told))
"""
"""Several commands in one process, so that torch is imported once."""


@pytest.fixture
def run(install, tmp_path):
    """Run commands where the plug-ins are installed; code, stdout and stderr of each."""
    site = install("recxfer-x", "1.2", ENTRY_POINTS, x_method=METHOD, x_source=SOURCE)

    def start(*commands, program=("-c", RUN), installed=True):
        paths = [str(site) if installed else "", os.environ.get("PYTHONPATH", "")]
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, paths))}
        lines = [[str(word) for word in command] for command in commands]
        done = subprocess.run(
            [sys.executable, *program, json.dumps(lines)],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            check=True,
        )
        return json.loads(done.stdout)

    return start


GUIDE = Path(__file__).parents[2] / "docs" / "guides" / "plug-ins.md"

CLASH = "method 'lora' of plug-in recxfer-x 1.2 is left out: there is one of that name in recxfer"
BROKEN = "method 'broken' of plug-in recxfer-x 1.2 cannot be loaded: ModuleNotFoundError"


def test_a_method_of_a_plug_in_is_listed_trains_and_is_evaluated(run, tmp_path):
    log = tmp_path / "log.pairs"
    rows = [f"u{u}+i{(u + t) % 9}+{t}" for u in range(40) for t in range(6)]
    log.write_text("\n".join(["user+item+time", *rows]) + "\n")
    small = ["--epochs", 1, "--set", "width=8", "--set", "max_length=8", "--threads", 1]
    listed, prepared, pretrained, trained, evaluated, broken, typo = run(
        ["transfer", "--list"],
        ["prepare", log, "data", "--json"],
        ["pretrain", "data", "base", *small, "--json"],
        ["transfer", "base", "data", "run", "--method", "only-biases", "--epochs", 1, "--json"],
        ["evaluate", "run", "--json"],
        ["transfer", "base", "data", "other", "--method", "broken"],
        ["transfer", "base", "data", "other", "--method", "only-bises"],
    )
    names = [line.split()[0] for line in listed[1].splitlines()]
    assert names == [*METHODS.own_names, "only-biases"]
    assert "Train biases, elsewhere (recxfer-x 1.2)" in listed[1].splitlines()[-1]
    assert [line.partition(":")[0] for line in listed[2].splitlines()] == ["warning"] * 2
    assert CLASH in listed[2]
    assert BROKEN in listed[2]

    assert [prepared[0], pretrained[0], trained[0], evaluated[0]] == [0] * 4, (trained, evaluated)
    assert json.loads(prepared[1])["events"] == 240
    assert json.loads(evaluated[1])
    header = tensors.read_header(tmp_path / "run" / CHECKPOINT)
    assert header["code"]["recxfer-x"] == "1.2"

    assert broken[0] == typo[0] == 2
    assert broken[2].startswith(f"error: {BROKEN}")
    assert "hint: update or uninstall recxfer-x" in broken[2]
    assert "did you mean 'only-biases'?" in typo[2]

    ((code, _, gone),) = run(["evaluate", "run"], installed=False)
    assert code != 0
    assert "only-biases" in gone


def test_a_clash_is_a_warning_of_the_command_that_asks(run):
    ((code, _, told),) = run(["transfer", "nowhere", "data", "run", "--method", "lora"])
    assert code == 4
    assert CLASH in " ".join(told.split())


def run_tests_of(site, *options):
    """Let pytest run the tests of a distribution, as its author would."""
    quiet = ["-q", "-p", "no:cacheprovider", "--rootdir", str(site), "-c", os.devnull]
    return subprocess.run(
        [sys.executable, "-m", "pytest", *quiet, str(site), *options],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )


def test_the_plug_in_of_the_guide_is_read(install, tmp_path, monkeypatch):
    """The example of `docs/guides/plug-ins.md`, as it stands there."""
    blocks = re.findall(r"^```(toml|python)\n(.*?)^```", GUIDE.read_text(), re.M | re.S)
    (project,) = [tomllib.loads(text)["project"] for language, text in blocks if language == "toml"]
    module, tests = [text for language, text in blocks if language == "python"]
    ((group, lines),) = project["entry-points"].items()
    site = install(
        project["name"],
        project["version"],
        f"[{group}]\n" + "\n".join(f"{name} = {value}" for name, value in lines.items()),
        recxfer_arrow=module,
    )
    (site / "test_arrow.py").write_text("from recxfer_arrow import *\n" + tests)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(site), os.environ.get("PYTHONPATH", "")]))
    tested = run_tests_of(site)
    assert tested.returncode == 0, tested.stdout
    listed = subprocess.run(
        [sys.executable, "-m", "recxfer", "prepare", "--list"], capture_output=True, text=True
    )
    assert listed.stdout.splitlines()[-1] in GUIDE.read_text()
    assert listed.stderr == ""


PROMISES = """
from recxfer.methods.bitfit import BitFit
from recxfer.methods.finetune import FineTune
class OnlyBiases(BitFit):
    'Train biases, elsewhere.'
class AllOfIt(FineTune):
    'Train everything, and say that it is little.'
    parameter_efficient = True
"""


def test_a_method_of_a_plug_in_is_held_to_what_it_says(install, monkeypatch):
    names = "only-biases = x_method:OnlyBiases", "all-of-it = x_method:AllOfIt"
    site = install("recxfer-x", "1.2", "\n".join(["[recxfer.methods]", *names]), x_method=PROMISES)
    (site / "test_x.py").write_text(
        "from recxfer.testing.method_contract import MethodContract\n"
        "class TestOnlyBiases(MethodContract):\n"
        "    method = 'only-biases'\n"
        "class TestAllOfIt(MethodContract):\n"
        "    method = 'all-of-it'\n"
    )
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(site), os.environ.get("PYTHONPATH", "")]))
    told = run_tests_of(site, "-k", "settings or small", "-rA").stdout
    ended = re.findall(r"^(PASSED|FAILED) .*::(Test\w+)::(test_\w+)", told, re.MULTILINE)
    failed = {(name, test) for outcome, name, test in ended if outcome == "FAILED"}
    small = {"test_a_delta_is_small", "test_a_delta_of_default_settings_is_under_15_percent"}
    assert failed == {("TestAllOfIt", test) for test in small}, told
    assert {("PASSED", "TestOnlyBiases", test) for test in small} <= set(ended), told


def test_help_reads_no_entry_points(run):
    program = (
        "import json, sys\n"
        "from typer.testing import CliRunner\n"
        "from recxfer.cli.app import app\n"
        "from recxfer.evaluation.metrics import METRICS\n"
        "from recxfer.methods import METHODS, OBJECTIVES\n"
        "from recxfer.models import BACKBONES\n"
        "from recxfer.preparing.sources import SOURCES\n"
        "tables = [METHODS, OBJECTIVES, BACKBONES, SOURCES, METRICS]\n"
        "told = [CliRunner().invoke(app, words).stdout for words in json.loads(sys.argv[1])]\n"
        "read = [table.kind for table in tables if '_plugins' in vars(table)]\n"
        "print(json.dumps(['only-biases' in told[0], read]))"
    )
    names = ("prepare", "pretrain", "transfer", "evaluate", "export")
    assert run(*([name, "--help"] for name in names), program=("-c", program)) == [False, []]
    assert run(["transfer", "--list"], program=("-c", program)) == [True, ["method"]]
