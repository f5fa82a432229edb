"""Call the commands from a test: as Python functions, or as they are typed.

Steps are those of a small world: batches of 16 and a rate of 0.01, unless a test says otherwise.
"""

import json
from pathlib import Path
from typing import Any

from typer.testing import CliRunner, Result

from recxfer.cli.app import app
from recxfer.commands import evaluate, export, prepare, pretrain, transfer
from recxfer.commands.evaluate import EvaluateResult
from recxfer.commands.export import ExportResult
from recxfer.commands.prepare import PrepareResult
from recxfer.commands.pretrain_config import PretrainResult
from recxfer.commands.transfer_config import TransferResult
from recxfer.foundation.config import Settings
from recxfer.foundation.reporting import Reporter, SilentReporter


def prepared(
    source: str | Path,
    output: Path,
    *settings: str,
    reporter: Reporter | None = None,
    **options: Any,
) -> PrepareResult:
    """Prepare a dataset.

    Args:
        source: name or path of the raw data.
        output: the dataset to write.
        settings: `KEY=VALUE` each, as after `--set`.
        reporter: who is told; by default nobody.
        options: further arguments of `recxfer.commands.prepare.resolve`.
    """
    config = prepare.resolve(str(source), output, settings=Settings.read(None, settings), **options)
    return prepare.run(config, reporter or SilentReporter())


def pretrained(
    dataset: Path,
    run: Path,
    *settings: str,
    batch_size: int | None = 16,
    lr: float | None = 0.01,
    reporter: Reporter | None = None,
    **options: Any,
) -> PretrainResult:
    """Pretrain a backbone.

    Args:
        dataset: a prepared dataset.
        run: the run to write.
        settings: `KEY=VALUE` each, as after `--set`.
        batch_size: rows of a step; None: what the settings say.
        lr: peak learning rate; None: what the settings say.
        reporter: who is told; by default nobody.
        options: further arguments of `recxfer.commands.pretrain.resolve`.
    """
    config = pretrain.resolve(
        dataset,
        run,
        settings=Settings.read(None, settings),
        batch_size=batch_size,
        lr=lr,
        **options,
    )
    return pretrain.run(config, reporter or SilentReporter())


def transferred(
    base: Path,
    dataset: Path,
    run: Path,
    method: str,
    task: str = "next-item",
    *settings: str,
    batch_size: int | None = 16,
    lr: float | None = 0.01,
    reporter: Reporter | None = None,
    **options: Any,
) -> TransferResult:
    """Transfer a base to a task.

    Args:
        base: a pretrained run.
        dataset: the target.
        run: the run to write.
        method: a name, as `--method` takes it.
        task: `next-item`, `cross-domain` or `profile:COLUMN`.
        settings: `KEY=VALUE` each, as after `--set`.
        batch_size: rows of a step; None: what the settings say.
        lr: peak learning rate; None: what the settings say.
        reporter: who is told; by default nobody.
        options: further arguments of `recxfer.commands.transfer.resolve`.
    """
    config = transfer.resolve(
        base,
        dataset,
        run,
        settings=Settings.read(None, settings),
        method=method,
        task=task,
        batch_size=batch_size,
        lr=lr,
        **options,
    )
    return transfer.run(config, reporter or SilentReporter())


def evaluated(*runs: Path, reporter: Reporter | None = None, **options: Any) -> EvaluateResult:
    """Measure runs.

    Args:
        runs: finished runs.
        reporter: who is told; by default nobody.
        options: further arguments of `recxfer.commands.evaluate.resolve`.
    """
    config = evaluate.resolve(list(runs), settings=Settings.read(), **options)
    return evaluate.run(config, reporter or SilentReporter())


def exported(run: Path, out: Path, **options: Any) -> ExportResult:
    """Write a file of what a run knows.

    Args:
        run: a finished run.
        out: the file to write.
        options: further arguments of `recxfer.commands.export.resolve`.
    """
    config = export.resolve(run, out, settings=Settings.read(), **options)
    return export.run(config, SilentReporter())


def recxfer(*words: object, code: int | None = 0, piped: str | None = None) -> Result:
    """Run a command line, in this process.

    Args:
        words: what is typed after `recxfer`.
        code: the exit code that is expected; None: any.
        piped: what stands on standard input.

    Raises:
        AssertionError: the exit code is another one; the message is what the command said.
    """
    result = CliRunner().invoke(app, [str(word) for word in words], input=piped)
    assert code is None or result.exit_code == code, f"exit code {result.exit_code}{_said(result)}"
    return result


def answered(*words: object) -> Any:
    """Run a command line that succeeds; return the object of its `--json`."""
    return json.loads(recxfer(*words, "--json").stdout)


def refused(*words: object) -> tuple[int, str, str]:
    """Run a command line that fails; return its exit code, its error and its hint."""
    result = recxfer(*words, "--json", code=None)
    assert result.exit_code != 0, f"nothing was refused{_said(result)}"
    assert result.stdout == "", "a command that fails writes nothing to standard output"
    told = json.loads(result.stderr.splitlines()[-1])
    assert told["exit_code"] == result.exit_code
    return result.exit_code, told["error"], told["hint"] or ""


def sets(*settings: str) -> list[str]:
    """Return the words that give settings: `--set` before each."""
    return [word for setting in settings for word in ("--set", setting)]


def _said(result: Result) -> str:
    return f":\n{result.output}" if result.output else f": {result.exception!r}"
