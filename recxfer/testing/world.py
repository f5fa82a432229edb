"""A small planted world: two domains of the same people, in which what is learnable is known.

A person's taste is the parity of their number. People with even numbers walk upwards through the
even films, the others through the odd ones, and books share the parity of their reader. So the
next film is the successor of the last one, and taste is the parity of any film or book. The text
of an item says its parity and where on the walk it stands.
"""

import atexit
import random
import shutil
import tempfile
from collections.abc import Sequence
from functools import cache, cached_property
from pathlib import Path
from typing import Final

from recxfer.commands import prepare, pretrain
from recxfer.commands.pretrain_config import PretrainResult
from recxfer.foundation.config import Settings
from recxfer.foundation.reporting import SilentReporter

PEOPLE: Final = 120
FILMS: Final = 24
BOOKS: Final = 30

SMALL: Final = ("width=16", "max_length=20")
"""Settings that keep a backbone small."""

_SMALL_TEXT: Final = ("text_width=16", "text_depth=1", "encoder_dropout=0")


class World:
    """Datasets and pretrained runs of the planted world, each made when it is first asked for.

    They lie in a temporary folder, which is removed when the process ends.
    """

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="recxfer-world-"))
        atexit.register(shutil.rmtree, self.folder, ignore_errors=True)
        _write(self.folder)
        self._bases: dict[tuple[str, str], Path] = {}

    @cached_property
    def films(self) -> Path:
        """The source domain: leave-last split, labels `taste` and `group` (three, at random)."""
        return self._prepare("films", users=self.folder / "people.csv")

    @cached_property
    def books(self) -> Path:
        """The target domain: up to five books of each person, linked to `films`, split by users."""
        return self._prepare("books", links=[self.films], split="users")

    def base(self, backbone: str = "sasrec", objective: str = "next-item") -> Path:
        """A run pretrained on `films` that has learned what there is to learn."""
        key = backbone, objective
        if key not in self._bases:
            self._bases[key] = learn(
                objective,
                self.films,
                self.folder / f"base-{backbone}-{objective}",
                backbone=backbone,
                settings=[*SMALL, "backbone.dropout=0"],
                epochs=30,
            ).path
        return self._bases[key]

    @cached_property
    def content_base(self) -> Path:
        """A run pretrained on `films` that knows items by their text."""
        settings = [*SMALL, *_SMALL_TEXT, "backbone.dropout=0"]
        run = self.folder / "base-content"
        return learn("transrec", self.films, run, settings=settings, epochs=12).path

    def usual_base(self, backbone: str) -> Path:
        """A run of one epoch on `films` with the usual sizes: every setting has its default."""
        key = backbone, "usual"
        if key not in self._bases:
            config = pretrain.resolve(
                self.films,
                self.folder / f"usual-{backbone}",
                settings=Settings.read(),
                backbone=backbone,
                epochs=1,
            )
            self._bases[key] = pretrain.run(config, SilentReporter()).path
        return self._bases[key]

    def _prepare(
        self,
        name: str,
        *,
        users: Path | None = None,
        links: Sequence[Path] = (),
        split: str | None = None,
    ) -> Path:
        config = prepare.resolve(
            str(self.folder / f"{name}.csv"),
            self.folder / name,
            settings=Settings.read(),
            items=self.folder / "titles.csv",
            users=users,
            links=links,
            split=split,
        )
        return prepare.run(config, SilentReporter()).path


@cache
def shared_world() -> World:
    """The world that all contracts of a process share."""
    return World()


def learn(
    objective: str,
    dataset: Path,
    run: Path,
    *,
    backbone: str = "sasrec",
    settings: Sequence[str] = (),
    epochs: int,
    seed: int = 0,
) -> PretrainResult:
    """Pretrain in batches of a size for the planted world."""
    config = pretrain.resolve(
        dataset,
        run,
        settings=Settings.read(None, settings),
        objective=objective,
        backbone=backbone,
        epochs=epochs,
        batch_size=16,
        lr=0.01,
        seed=seed,
    )
    return pretrain.run(config, SilentReporter())


def _walk(draw: random.Random, person: int) -> list[int]:
    here = draw.randrange(FILMS // 2)
    steps = [(here + step) % (FILMS // 2) for step in range(draw.randint(4, 14))]
    return [2 * film + person % 2 for film in steps]


def _write(folder: Path) -> None:
    draw = random.Random(0)
    films, books, people = ["user,item,time"], ["user,item,time"], ["user,taste,group"]
    for person in range(PEOPLE):
        people.append(f"u{person},{'odd' if person % 2 else 'even'},{'abc'[person % 3]}")
        for time, film in enumerate(_walk(draw, person)):
            films.append(f"u{person},f{film},{1000 + time}")
        for time in range(draw.randint(1, 5)):
            book = 2 * draw.randrange(BOOKS // 2) + person % 2
            books.append(f"u{person},b{book},{2000 + time}")
    titles = ["item,text"]
    for kind, count in (("f", FILMS), ("b", BOOKS)):
        titles += [f"{kind}{n},{'odd' if n % 2 else 'even'} step {n // 2}" for n in range(count)]
    tables = {"films": films, "books": books, "people": people, "titles": titles}
    for name, lines in tables.items():
        (folder / f"{name}.csv").write_text("\n".join(lines) + "\n")
