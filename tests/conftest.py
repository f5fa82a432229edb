"""What tests share: quiet torch, hypothesis profiles, small worlds prepared once, and faults."""

import os
import signal
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from hypothesis import settings

pytest.register_assert_rewrite("recxfer.testing")  # whose failed asserts then show their values
torch.set_num_threads(1)
settings.register_profile("dev", max_examples=50, deadline=None)
settings.register_profile("ci", max_examples=200, deadline=None, derandomize=True)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "dev"))


@pytest.fixture(scope="session")
def planted():
    """The world that contract tests share; what is asked for is made then."""
    from recxfer.testing.world import shared_world

    return shared_world()


@pytest.fixture(scope="session")
def world(planted):
    """The folder with the datasets `films` (labels taste and group) and, linked to it, `books`."""
    return planted.books.parent


@pytest.fixture(scope="session")
def films(planted):
    """The path of the source domain: leave-last split, labels `taste` and `group`."""
    return planted.films


@pytest.fixture(scope="session")
def books(planted):
    """The path of the target domain, linked to `films`, split by users."""
    return planted.books


@pytest.fixture(scope="session")
def bases(planted):
    """Pretrained runs on `films`, by (backbone, objective); each is trained when asked for."""

    class Bases:
        def __getitem__(self, key):
            return planted.base(*key)

    return Bases()


@pytest.fixture(scope="session")
def content_base(planted):
    """A run pretrained on `films` that knows items by their text."""
    return planted.content_base


@pytest.fixture
def stopped(monkeypatch):
    """A context in which training, asked so many times whether to stop, goes on, and then stops."""
    from recxfer.training import session

    @contextmanager
    def context(times):
        left = iter([False] * times)

        @contextmanager
        def stop_on_interrupt():
            yield lambda: next(left, True)

        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            patch.setattr(session, "stop_on_interrupt", stop_on_interrupt)
            yield

    return context


DYING = """
import os, signal
from dataclasses import replace
from {module} import {name}

adapt = {name}.adapt

def dying(phase):
    def close(quality):
        if phase.close is not None:
            phase.close(quality)
        os.kill(os.getpid(), signal.SIGKILL)

    return replace(phase, close=close) if phase.name == {phase!r} else phase

def adapt_and_die(self, *given):
    adapted = adapt(self, *given)
    return replace(adapted, phases=[dying(phase) for phase in adapted.phases])

{name}.adapt = adapt_and_die
"""


@pytest.fixture
def dies_after():
    """Python source that makes a process kill itself where a phase of a method is closed."""

    def source(method, phase):
        return DYING.format(module=method.__module__, name=method.__name__, phase=phase)

    return source


@pytest.fixture
def resumes_as_if_never_killed():
    """Asserts that a `transfer` ends in the same bytes after a SIGKILL and `--resume`.

    What dies is a process of its own; what goes on, and what was never killed, is this one.
    """
    from recxfer.foundation.names import CHECKPOINT
    from recxfer.testing.commands import recxfer

    def check(dying, base, dataset, run, *options):
        """Run it killed, resumed and whole.

        Args:
            dying: Python source that makes the process kill itself at some point.
            base: as `transfer` takes it.
            dataset: likewise.
            run: likewise.
            options: likewise.
        """

        words = ["transfer", base, dataset, run, *options]
        start = ["-c", f"{dying}from recxfer.__main__ import main\nmain()\n"]
        killed = subprocess.run([sys.executable, *start, *map(str, words)], check=False)
        assert killed.returncode == -signal.SIGKILL
        assert not run.exists()
        whole = Path(f"{run}-whole")
        recxfer(*words, "--resume")
        recxfer("transfer", base, dataset, whole, *options)
        assert (run / CHECKPOINT).read_bytes() == (whole / CHECKPOINT).read_bytes()

    return check


@pytest.fixture
def install(tmp_path):
    """Put a distribution into `tmp_path/site`, as an installer would: metadata and modules.

    Whoever wants it found puts that folder on the path.
    """

    def put(name, version, entry_points, **modules):
        site = tmp_path / "site"
        metadata = site / f"{name.replace('-', '_')}-{version}.dist-info"
        metadata.mkdir(parents=True)
        (metadata / "METADATA").write_text(
            f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
        )
        (metadata / "entry_points.txt").write_text(entry_points)
        for module, source in modules.items():
            (site / f"{module}.py").write_text(source)
        return site

    return put
