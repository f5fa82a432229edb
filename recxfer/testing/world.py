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
from functools import cache, cached_property
from pathlib import Path
from typing import Final

from recxfer.methods import OBJECTIVES
from recxfer.models import BACKBONES
from recxfer.testing.commands import prepared, pretrained

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
        users = self.folder / "people.csv"
        return prepared(
            self._log("films"), self.folder / "films", items=self._titles, users=users
        ).path

    @cached_property
    def books(self) -> Path:
        """The target domain: up to five books of each person, linked to `films`, split by users."""
        return prepared(
            self._log("books"),
            self.folder / "books",
            items=self._titles,
            links=[self.films],
            split="users",
        ).path

    def base(self, backbone: str = "sasrec", objective: str = "next-item") -> Path:
        """A run pretrained on `films` that has learned what there is to learn."""
        key = backbone, objective
        if key not in self._bases:
            self._bases[key] = pretrained(
                self.films,
                self.folder / f"base-{backbone}-{objective}",
                *SMALL,
                "backbone.dropout=0",
                backbone=backbone,
                objective=objective,
                epochs=30,
            ).path
        return self._bases[key]

    @cached_property
    def content_base(self) -> Path:
        """A run pretrained on `films` that knows items by their text."""
        settings = [*SMALL, *_SMALL_TEXT, "backbone.dropout=0"]
        run = self.folder / "base-content"
        return pretrained(self.films, run, *settings, objective="transrec", epochs=12).path

    def usual_base(self, backbone: str) -> Path:
        """A run of one epoch on `films` with the usual sizes: every setting has its default."""
        key = backbone, "usual"
        if key not in self._bases:
            run = self.folder / f"usual-{backbone}"
            self._bases[key] = pretrained(
                self.films, run, backbone=backbone, epochs=1, batch_size=None, lr=None
            ).path
        return self._bases[key]

    def _log(self, name: str) -> Path:
        return self.folder / f"{name}.csv"

    @property
    def _titles(self) -> Path:
        return self.folder / "titles.csv"


@cache
def shared_world() -> World:
    """The world that all contracts of a process share."""
    return World()


def go_together(backbone: str, objective: str) -> bool:
    """Tell whether a backbone can look where an objective does."""
    objective_type = OBJECTIVES.resolve(objective)
    causal = objective_type(objective_type.config_type()).causal
    return causal or not BACKBONES.resolve(backbone).causal_only


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
