"""What tests share: quiet torch, hypothesis profiles, small worlds prepared once, and faults."""

import os
import random
import signal
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from hypothesis import settings

torch.set_num_threads(1)
settings.register_profile("dev", max_examples=50, deadline=None)
settings.register_profile("ci", max_examples=200, deadline=None, derandomize=True)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "dev"))

PEOPLE, FILMS, BOOKS = 120, 24, 30


def _films(draw: random.Random, person: int) -> list[int]:
    """Even people walk upwards through the even films, odd people through the odd ones."""
    here = draw.randrange(FILMS // 2)
    walk = [(here + step) % (FILMS // 2) for step in range(draw.randint(4, 14))]
    return [2 * film + person % 2 for film in walk]


def _write_world(folder) -> None:
    """Films and books of the same people: taste is the parity of the person, everywhere.

    The text of an item says its parity and where on the walk it stands.
    """
    draw = random.Random(0)
    films, books, people = ["user,item,time"], ["user,item,time"], ["user,taste,group"]
    for person in range(PEOPLE):
        people.append(f"u{person},{'odd' if person % 2 else 'even'},{'abc'[person % 3]}")
        for time, film in enumerate(_films(draw, person)):
            films.append(f"u{person},f{film},{1000 + time}")
        for time in range(draw.randint(1, 5)):
            book = 2 * draw.randrange(BOOKS // 2) + person % 2
            books.append(f"u{person},b{book},{2000 + time}")
    titles = ["item,text"]
    for kind, count in (("f", FILMS), ("b", BOOKS)):
        titles += [f"{kind}{n},{'odd' if n % 2 else 'even'} step {n // 2}" for n in range(count)]
    for name, lines in (
        ("films", films),
        ("books", books),
        ("people", people),
        ("titles", titles),
    ):
        (folder / f"{name}.csv").write_text("\n".join(lines) + "\n")


@pytest.fixture(scope="session")
def world(tmp_path_factory):
    """A folder with the datasets `films` (labels taste and group) and, linked to it, `books`.

    What is learnable is known: the next film is the successor of the last one, taste is the
    parity of any film, and books share the parity of their reader.
    """
    from recxfer.commands import prepare
    from recxfer.foundation.config import Settings
    from recxfer.foundation.reporting import SilentReporter

    folder = tmp_path_factory.mktemp("world")
    _write_world(folder)
    for name, options in (
        ("films", {"users": folder / "people.csv"}),
        ("books", {"links": [folder / "films"], "split": "users"}),
    ):
        config = prepare.resolve(
            str(folder / f"{name}.csv"),
            folder / name,
            settings=Settings.read(),
            items=folder / "titles.csv",
            **options,
        )
        prepare.run(config, SilentReporter())
    return folder


@pytest.fixture(scope="session")
def films(world):
    """The path of the source domain: leave-last split, labels `taste` and `group`."""
    return world / "films"


@pytest.fixture(scope="session")
def books(world):
    """The path of the target domain, linked to `films`, split by users."""
    return world / "books"


@pytest.fixture(scope="session")
def bases(world, films):
    """Pretrained runs on `films`, by (backbone, objective)."""
    from recxfer.commands import pretrain
    from recxfer.foundation.config import Settings
    from recxfer.foundation.reporting import SilentReporter

    runs = {}
    for backbone in ("sasrec", "nextitnet"):
        for objective in ("next-item", "cloze"):
            run = world / f"base-{backbone}-{objective}"
            config = pretrain.resolve(
                films,
                run,
                settings=Settings.read(None, ["width=16", "max_length=20", "dropout=0.0"]),
                backbone=backbone,
                objective=objective,
                epochs=30,
                batch_size=16,
                lr=0.01,
            )
            pretrain.run(config, SilentReporter())
            runs[backbone, objective] = run
    return runs


@pytest.fixture(scope="session")
def content_base(world, films):
    """A run pretrained on `films` that knows items by their text."""
    from recxfer.commands import pretrain
    from recxfer.foundation.config import Settings
    from recxfer.foundation.reporting import SilentReporter

    small = ["width=16", "max_length=20", "backbone.dropout=0.0", "encoder_dropout=0.0"]
    config = pretrain.resolve(
        films,
        world / "base-content",
        settings=Settings.read(None, [*small, "text_width=16", "text_depth=1"]),
        objective="transrec",
        epochs=12,
        batch_size=16,
        lr=0.01,
    )
    return pretrain.run(config, SilentReporter()).path


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


@pytest.fixture
def resumes_as_if_never_killed():
    """Asserts that a `transfer` ends in the same bytes after a SIGKILL and `--resume`."""
    from recxfer.foundation.names import CHECKPOINT

    def check(dying, base, dataset, run, *options):
        """Run it killed, resumed and whole.

        Args:
            dying: Python source that makes the process kill itself at some point.
            base: as `transfer` takes it.
            dataset: likewise.
            run: likewise.
            options: likewise.
        """

        def command(start, run, *more):
            words = ["transfer", str(base), str(dataset), str(run), *options, *more]
            return [sys.executable, *start, *words]

        start = ["-c", f"{dying}from recxfer.__main__ import main\nmain()\n"]
        killed = subprocess.run(command(start, run), check=False)
        assert killed.returncode == -signal.SIGKILL
        assert not run.exists()
        start, whole = ["-m", "recxfer"], Path(f"{run}-whole")
        subprocess.run(command(start, run, "--resume"), check=True, capture_output=True)
        subprocess.run(command(start, whole), check=True, capture_output=True)
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
