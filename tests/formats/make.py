"""Make what `tests/runs/test_formats.py` reads: a dataset and runs as earlier formats had them.

Run with the code of commit 08acb8c, the last that wrote checkpoints of formats 1 and 2, in an empty
folder, whose contents were then moved here: PYTHONPATH=/path/to/08acb8c python make.py
"""

import json
from pathlib import Path
from typing import Any

from typer.testing import CliRunner

from recxfer.cli.app import app

PEOPLE, FILMS = 40, 8
TINY = ["--set", "width=4", "--set", "max_length=8", "--set", "dilations=[1]", "--threads", "1"]
SHORT = ["--epochs", "8", "--batch-size", "16", "--lr", "0.02", "--threads", "1"]


def recxfer(*words: str) -> dict[str, Any]:
    """Run a command, and return what it says with `--json`."""
    result = CliRunner().invoke(app, [*words, "--json"])
    assert result.exit_code == 0, result.output
    said: dict[str, Any] = json.loads(result.stdout)
    return said


def write_log(folder: Path) -> None:
    """Even people walk through the even films, odd people through the odd ones."""
    log, people = ["user,item,time"], ["user,taste"]
    for person in range(PEOPLE):
        people.append(f"u{person},{'odd' if person % 2 else 'even'}")
        for step in range(4 + person % 3):
            film = 2 * ((person // 2 + step) % (FILMS // 2)) + person % 2
            log.append(f"u{person},f{film},{1000 + step}")
    (folder / "films.csv").write_text("\n".join(log) + "\n")
    (folder / "people.csv").write_text("\n".join(people) + "\n")


def main() -> None:
    here = Path()
    for name in ("1", "2"):
        (here / name).mkdir()
    write_log(here)
    recxfer("prepare", "films.csv", "1/films", "--users", "people.csv")
    recxfer("pretrain", "1/films", "1/base", "--backbone", "nextitnet", *TINY, *SHORT)
    taste = ["--task", "profile:taste", *SHORT]
    recxfer("transfer", "1/base", "1/films", "1/delta", "--method", "peterrec", *taste)
    recxfer("transfer", "1/base", "1/films", "2/tasks", "--method", "conure", *taste)
    figures = {}
    for run in ("1/base", "1/delta", "2/tasks"):
        said = recxfer("evaluate", run, "--threads", "1")
        figures[run] = {
            task["task"]: {name: value["value"] for name, value in task["metrics"].items()}
            for task in said["runs"]
        }
        for cases in Path(run).glob("cases-*"):
            cases.unlink()
    Path("figures.json").write_text(json.dumps(figures, indent=1) + "\n")


if __name__ == "__main__":
    main()
