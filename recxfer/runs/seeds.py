"""Find runs that differ in their seed alone, and take them as one."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from recxfer.foundation.errors import UsageError
from recxfer.foundation.files import Json
from recxfer.foundation.names import RUN_JSON, SEED_FOLDER
from recxfer.runs.header import Header, read_header
from recxfer.runs.record import read_record


@dataclass(frozen=True, slots=True)
class SeedGroup:
    """A run, or runs that differ in their seed alone."""

    name: Path
    """The folder that holds them, or the first of them."""

    runs: tuple[Path, ...]
    """In the order of their seeds where a folder holds them, else as they were given."""


def seed_folder(folder: Path, seed: int) -> Path:
    """Say where `--seeds` puts the run of a seed."""
    return folder / f"{SEED_FOLDER}{seed}"


def runs_in(folder: Path) -> tuple[Path, ...]:
    """List the finished runs of a folder that `--seeds` made, by seed; none of any other folder."""
    if (folder / RUN_JSON).exists() or not folder.is_dir():
        return ()
    numbered = [
        (int(path.name.removeprefix(SEED_FOLDER)), path)
        for path in folder.glob(f"{SEED_FOLDER}*")
        if path.name.removeprefix(SEED_FOLDER).isdecimal() and (path / RUN_JSON).exists()
    ]
    return tuple(path for _, path in sorted(numbered))


def run_of_seed(path: Path, seed: int) -> Path:
    """Find the run of a seed in a folder of several; a single run serves every seed.

    Raises:
        UsageError: the folder has none of that seed.
    """
    found = runs_in(path)
    if not found:
        return path
    run = seed_folder(path, seed)
    if run not in found:
        raise UsageError(
            f"{path} holds runs of {', '.join(run.name for run in found)}, and none of seed {seed}",
            hint=f"make it with --seeds {seed}, or leave that seed out",
        )
    return run


def grouped(paths: Sequence[Path]) -> list[SeedGroup]:
    """Take runs that differ in their seed alone as one, each group where its first run stands.

    A folder that `--seeds` made is one group. Runs that are given one by one are, too, where all
    that decides them is the same but for the seed, their bases' included.

    Args:
        paths: run directories, or folders of several seeds.

    Raises:
        UsageError: the runs of a folder differ in more than their seed.
    """
    groups: list[SeedGroup] = []
    alone: dict[int, list[Path]] = {}
    for path in paths:
        runs = runs_in(path)
        if runs:
            _refuse_unlike(path, runs)
            groups.append(SeedGroup(path, runs))
            continue
        for place, others in alone.items():
            if all(differ_in_seed_alone(path, other) for other in others):
                others.append(path)
                groups[place] = SeedGroup(others[0], tuple(others))
                break
        else:
            alone[len(groups)] = [path]
            groups.append(SeedGroup(path, (path,)))
    return groups


def differ_in_seed_alone(one: Path, other: Path) -> bool:
    """Return whether two runs have other seeds, and nothing else that decides them differs."""
    ours, theirs = read_header(one), read_header(other)
    return (
        ours.seed != theirs.seed
        and _without_seed(ours) == _without_seed(theirs)
        and _bases_agree(one, ours, other, theirs)
    )


def _without_seed(header: Header) -> Json:
    of_seed = ("seed", "parent", "pretrained")
    facts = {key: value for key, value in header.identity().items() if key not in of_seed}
    return {**facts, "tasks": [learned.task.name for learned in header.tasks]}


def _bases_agree(one: Path, ours: Header, other: Path, theirs: Header) -> bool:
    """Return whether two runs have one base, or bases that differ in their seed alone."""
    if ours.parent is None or theirs.parent is None:
        return ours.parent == theirs.parent
    if ours.parent.sha256 == theirs.parent.sha256:
        return True
    bases = [run / (read_record(run).base or "") for run in (one, other)]
    # Of bases that are gone nothing is known: their runs are not taken as one.
    return all((base / RUN_JSON).exists() for base in bases) and differ_in_seed_alone(*bases)


def _refuse_unlike(folder: Path, runs: Sequence[Path]) -> None:
    first = runs[0]
    for run in runs[1:]:
        if not differ_in_seed_alone(first, run):
            raise UsageError(
                f"{folder} does not hold one run over several seeds: {first.name} and {run.name} "
                "differ in more than their seed",
                hint="evaluate them one by one, or make the folder again with --seeds",
            )
