"""Contract tests of raw sources."""

from pathlib import Path
from typing import ClassVar, Final

import polars as pl

from recxfer.foundation.errors import DataError
from recxfer.foundation.names import IMAGE, ITEM_ID, TEXT, USER_ID
from recxfer.preparing.pipeline import Recipe, Surroundings, prepare_tables
from recxfer.preparing.sources.contract import AnySource, RawSource, Request
from recxfer.preparing.streams import collect

_NOISE: Final = bytes(range(255, -1, -1)) * 4
_RECORDED: Final = {"columns", "exclude_users", "exclude_items", "vocabulary"}
"""Keys that `dataset.json` holds beside the settings of a source and those of `prepare`."""


class SourceContract:
    """Contract tests of a source; a subclass says which, and writes a miniature of its raw data.

    The miniature has at least two users and two items. Tests take pytest's `tmp_path`.
    """

    source: ClassVar[type[AnySource]]

    recognised: ClassVar[bool] = True
    """Whether a path to the miniature needs no name before it."""

    def write(self, folder: Path) -> Path | None:
        """Write the miniature into an empty folder.

        Returns:
            The file or folder that a user would name; None for a source that reads no files.
        """
        raise NotImplementedError

    def test_it_says_what_it_reads(self) -> None:
        """The docstring's first line is shown in lists."""
        assert self.source.__doc__, "the class has no docstring: its first line is shown in lists"

    def test_its_settings_have_names_that_prepare_has_not(self) -> None:
        """`--set KEY=VALUE` and `dataset.json` hold both side by side."""
        taken = {*Recipe.model_fields, *_RECORDED} & self.source.config_type.model_fields.keys()
        assert not taken, f"`prepare` has settings of these names: {', '.join(sorted(taken))}"

    def test_its_defaults_are_settings(self) -> None:
        """A source can be read without any `--set`."""
        self.source(self.source.config_type())

    def test_it_recognises_its_own(self, tmp_path: Path) -> None:
        """A path alone is enough, where the source says so."""
        path = self.write(tmp_path)
        if path is not None:
            assert self.source.recognises(path) == self.recognised

    def test_it_recognises_nothing_else(self, tmp_path: Path) -> None:
        """Neither an empty folder nor an unknown file."""
        folder, file = tmp_path / "folder", tmp_path / "noise.bin"
        folder.mkdir()
        file.write_bytes(_NOISE)
        assert not self.source.recognises(folder), "an empty folder is recognised"
        assert not self.source.recognises(file), "a file of random bytes is recognised"

    def test_what_it_yields_is_as_the_contract_says(self, tmp_path: Path) -> None:
        """Columns of their names, ids that are there, files that are listed."""
        path = self.write(tmp_path)
        raw = self._read(path, tmp_path)
        events = self._events(raw)
        for column in (USER_ID, ITEM_ID):
            assert column in events, f"interactions have no column {column!r}"
            assert events[column].n_unique() > 1, f"{column!r} has one value only"
        assert bool(raw.files) == (path is not None), "`files` lists what was read"
        if raw.items is not None:
            columns = set(raw.items.collect_schema().names())
            assert ITEM_ID in columns
            assert columns & {TEXT, IMAGE}, "items have neither text nor image"
        if raw.users is not None:
            assert USER_ID in raw.users.collect_schema()

    def test_reading_twice_gives_the_same(self, tmp_path: Path) -> None:
        """Rows and their order, and what is known of the files."""
        folders = [tmp_path / "one", tmp_path / "two"]
        path = self.write(tmp_path)
        one, two = (self._read(path, folder) for folder in folders)
        assert (one.name, one.files, one.known_answers) == (two.name, two.files, two.known_answers)
        assert self._events(one).equals(self._events(two)), "interactions differ"
        for name in ("items", "users"):
            first, second = getattr(one, name), getattr(two, name)
            assert (first is None) == (second is None)
            assert first is None or first.collect().equals(second.collect()), f"{name} differ"

    def test_a_dataset_can_be_made_of_it(self, tmp_path: Path) -> None:
        """All steps of `prepare`, with its defaults."""
        raw = self._read(self.write(tmp_path), tmp_path / "made")
        made = prepare_tables(
            raw,
            Recipe(),
            Surroundings(),
            settings={},
            seed=0,
            directory=tmp_path / "made",
            output=tmp_path / "made",
        )
        assert made.info.users > 1
        assert made.info.items > 1

    def test_where_nothing_is_there_is_one_error(self, tmp_path: Path) -> None:
        """It names the path."""
        if self.source.path != "refused":
            self._refused(tmp_path / "nowhere", tmp_path, "nowhere")

    def test_an_empty_file_is_one_error(self, tmp_path: Path) -> None:
        """It names the path."""
        self._refused_when_overwritten(tmp_path, b"")

    def test_a_file_of_something_else_is_one_error(self, tmp_path: Path) -> None:
        """It names the path."""
        self._refused_when_overwritten(tmp_path, _NOISE)

    def _refused_when_overwritten(self, folder: Path, data: bytes) -> None:
        path = self.write(folder)
        if path is None:
            return
        for file in path.rglob("*") if path.is_dir() else [path]:
            if file.is_file():
                file.write_bytes(data)
        self._refused(path, folder / "made", path.name)

    def _refused(self, path: Path, directory: Path, named: str) -> None:
        try:
            self._events(self._read(path, directory))
        except DataError as error:
            assert named in str(error), f"{str(error)!r} does not name {named}"
            assert "\n" not in str(error), f"{str(error)!r} has several lines"
        else:
            raise AssertionError(f"{path} was read, and no DataError raised")

    def _read(self, path: Path | None, directory: Path) -> RawSource:
        directory.mkdir(exist_ok=True)
        source = self.source(self.source.config_type())
        return source.read(Request(directory=directory, path=path))

    def _events(self, raw: RawSource) -> pl.DataFrame:
        return collect([raw.interactions], raw.name)[0]
