"""`export`: a run in; vectors, recommendations or a self-contained model out."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Unpack

import polars as pl
import torch
from torch import Tensor

from recxfer.data.batches import evaluation_batches
from recxfer.data.tables import write_table
from recxfer.evaluation.cases import diagnostics_of
from recxfer.evaluation.ranking import class_scores, recommend
from recxfer.foundation import tensors
from recxfer.foundation.config import Config, Settings
from recxfer.foundation.device import (
    Execution,
    autocast,
    choose_device,
    choose_precision,
    keep_freed_memory,
    set_threads,
)
from recxfer.foundation.errors import UsageError
from recxfer.foundation.files import refuse_existing, replaced_file
from recxfer.foundation.names import ITEM_ID, USER_ID
from recxfer.foundation.registry import suggestion
from recxfer.foundation.reporting import Reporter
from recxfer.runs.header import read_header
from recxfer.runs.multitask import find_task
from recxfer.runs.open import open_run, refuse_unneeded_base
from recxfer.runs.run import Run

VECTOR = "vector"
BIAS = "bias"
RANK = "rank"
SCORE = "score"
CLASS = "class"
PROBABILITY = "probability"

VECTORS_FORMAT = 1
"""Of a safetensors file of vectors."""

TOP = 10
"""Length of recommendation lists where `--top` does not say."""

FORMATS = {
    "users": ("parquet", "safetensors"),
    "items": ("parquet", "safetensors"),
    "recommendations": ("parquet", "csv", "jsonl"),
    "model": ("safetensors",),
}
"""What can be exported, and as what; the first format is the default."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportConfig:
    """Config of an export: run, kind, format and place."""

    run: Path
    out: Path
    what: str = "users"
    format: str = "parquet"
    top: int | None = None
    """Length of recommendation lists; None: TOP."""

    task: str | None = None
    """Number or name of the task, of a run that holds several; None: the last."""

    base: Path | None = None
    """Where the base of the run lies now, if it has moved."""

    dataset: Path | None = None
    """Where the dataset lies now, or another one with the same items."""

    device: str = "auto"
    precision: str = "fp32"
    threads: int | None = None
    overwrite: bool = False

    @property
    def sections(self) -> dict[str, Config]:
        """Empty: `export` has options and no settings."""
        return {}


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportResult:
    """The file that was written, and its facts."""

    path: Path
    what: str
    format: str
    rows: int | None = None
    parameters: int | None = None
    dimension: int | None = None

    def as_json(self) -> dict[str, object]:
        """Return the keys of `--json`."""
        facts = {"rows": self.rows, "parameters": self.parameters, "dimension": self.dimension}
        known = {key: value for key, value in facts.items() if value is not None}
        return {"what": self.what, "format": self.format, **known}


class ExportOptions(Execution, total=False):
    """Options that `resolve` takes as they are."""

    task: str | None
    base: Path | None


def resolve(
    run: Path,
    out: Path,
    *,
    settings: Settings,
    what: str = "users",
    format: str | None = None,
    top: int | None = None,
    dataset: Path | None = None,
    **common: Unpack[ExportOptions],
) -> ExportConfig:
    """Decode flags as one config; the format comes from the flag, else from the suffix of `out`.

    Raises:
        UsageError: unknown `what`, or a format, length or dataset that does not go with it.
    """
    settings.decode({})
    if what not in FORMATS:
        raise UsageError(
            f"--what {what}: there are {', '.join(FORMATS)}", hint=suggestion(what, list(FORMATS))
        )
    chosen = format or out.suffix.removeprefix(".") or FORMATS[what][0]
    if chosen not in FORMATS[what]:
        raise UsageError(
            f"{what} cannot be written as {chosen!r}; there are {', '.join(FORMATS[what])}",
            hint="pass --format, or give the output a suffix that names one",
        )
    if top is not None and what != "recommendations":
        raise UsageError(f"--top is for recommendations, not for {what}", hint="leave it out")
    if dataset is not None and what == "model":
        raise UsageError("--dataset: a model is exported without data", hint="leave it out")
    return ExportConfig(
        run=run, out=out, what=what, format=chosen, top=top, dataset=dataset, **common
    )


def run(config: ExportConfig, reporter: Reporter) -> ExportResult:
    """Write vectors, recommendations or a model, in one step."""
    read = [config.run, *filter(None, (config.base, config.dataset))]
    refuse_existing(config.out, overwrite=config.overwrite, inputs=read)
    refuse_unneeded_base([config.run], config.base)
    set_threads(config.threads)
    keep_freed_memory()
    device = choose_device(config.device)
    precision = choose_precision(config.precision, device)
    header = read_header(config.run)
    number = None
    if config.task is not None:
        found = find_task(header, config.task)
        number = found if header.keeps_tasks else None
    opened = open_run(
        config.run,
        device,
        moved_base=config.base,
        moved_dataset=config.dataset,
        number=number,
    )
    if opened.reads_content and config.what != "model":
        opened.read_items_of(opened.target, reporter)
    with autocast(device, precision):
        return EXPORTS[config.what](config, opened, reporter)


def _export_users(config: ExportConfig, opened: Run, reporter: Reporter) -> ExportResult:
    vector_UD = _user_vectors(opened, reporter)
    told = diagnostics_of(opened, opened.rows("all"))
    if config.format == "safetensors":
        _write_tensors(config.out, {"users": vector_UD, **told}, opened)
    else:
        frame = _vector_frame(USER_ID, opened.user_ids, vector_UD)
        columns = (_vectors(name, value) for name, value in told.items())
        _write_frame(config, frame.with_columns(*columns))
    return _vectors_result(config, vector_UD)


def _export_items(config: ExportConfig, opened: Run, reporter: Reporter) -> ExportResult:
    if not opened.task.ranks_items:
        raise UsageError(
            f"{opened.path} is for {opened.task.name}: its outputs are classes, not items",
            hint="export the items of the base, or of a run for an item task",
        )
    output = opened.vectors("--what items").output(opened.model)
    vector_VD = output.weight_VD.detach().float().cpu()
    bias_V = None if output.bias_V is None else output.bias_V.detach().float().cpu()
    if config.format == "safetensors":
        parts = {"items": vector_VD} | ({} if bias_V is None else {BIAS: bias_V})
        _write_tensors(config.out, parts, opened)
    else:
        frame = _vector_frame(ITEM_ID, opened.target.item_ids, vector_VD)
        if bias_V is not None:
            frame = frame.with_columns(pl.Series(BIAS, bias_V.numpy()))
        _write_frame(config, frame)
    return _vectors_result(config, vector_VD)


def _export_recommendations(config: ExportConfig, opened: Run, reporter: Reporter) -> ExportResult:
    frame = (_top_items if opened.task.ranks_items else _best_class)(config, opened, reporter)
    _write_frame(config, frame)
    return ExportResult(path=config.out, what=config.what, format=config.format, rows=frame.height)


def _top_items(config: ExportConfig, opened: Run, reporter: Reporter) -> pl.DataFrame:
    lists = recommend(
        opened.learner,
        opened.model,
        opened.rows("all"),
        config.top or TOP,
        device=opened.device,
        reporter=reporter,
    )
    num_users, k = lists.item_RK.shape
    ids = opened.target.item_ids
    frame = pl.DataFrame(
        {
            USER_ID: opened.user_ids.gather(_repeated(num_users, k)),
            ITEM_ID: ids.gather(pl.Series((lists.item_RK - 1).flatten().numpy())),
            RANK: pl.Series(torch.arange(1, k + 1).repeat(num_users).int().numpy()),
            SCORE: pl.Series(lists.score_RK.flatten().numpy()),
        }
    )
    # A user who has met almost everything has fewer than `top` items left.
    return frame.filter(pl.col(SCORE).is_finite())


def _best_class(config: ExportConfig, opened: Run, reporter: Reporter) -> pl.DataFrame:
    if config.top is not None:
        raise UsageError(
            f"--top: {opened.path} is for {opened.task.name}, where each person gets one class",
            hint="leave it out",
        )
    score_UC = class_scores(opened.learner, opened.model, opened.rows("all"), opened.device)
    best = score_UC.softmax(1).max(1)
    classes = pl.Series(opened.task.classes)
    return pl.DataFrame(
        {
            USER_ID: opened.user_ids,
            CLASS: classes.gather(pl.Series(best.indices.cpu().numpy())),
            PROBABILITY: pl.Series(best.values.cpu().numpy()),
        }
    )


def _export_model(config: ExportConfig, opened: Run, reporter: Reporter) -> ExportResult:
    parts, header = opened.merged_tensors()
    tensors.save(config.out, parts, header.to_json())
    return ExportResult(
        path=config.out,
        what=config.what,
        format=config.format,
        parameters=sum(part.numel() for part in parts.values()),
    )


def _user_vectors(opened: Run, reporter: Reporter) -> Tensor:
    """Encode every user at the end of their whole history (U, D)."""
    rows, learner = opened.rows("all"), opened.vectors("--what users")
    parts: list[tuple[Tensor, Tensor]] = []
    with (
        torch.inference_mode(),
        reporter.progress("encoding users", len(rows), "users") as progress,
    ):
        for row_B in evaluation_batches(rows):
            batch = rows.batch(row_B).to(opened.device)
            user_BD = learner.represent(opened.model, batch)
            parts.append((row_B, user_BD.float().cpu()))
            progress.advance(row_B.numel())
    vector_UD = torch.empty(len(rows), parts[0][1].shape[1])
    for row_B, user_BD in parts:
        vector_UD[row_B] = user_BD
    return vector_UD


def _vector_frame(id_column: str, ids: pl.Series, vector_XD: Tensor) -> pl.DataFrame:
    return pl.DataFrame([ids.alias(id_column), _vectors(VECTOR, vector_XD)])


def _vectors(name: str, vector_XD: Tensor) -> pl.Series:
    return pl.Series(name, vector_XD.numpy(), dtype=pl.Array(pl.Float32, vector_XD.shape[1]))


def _repeated(count: int, times: int) -> pl.Series:
    return pl.Series(torch.arange(count).repeat_interleave(times).numpy())


def _write_frame(config: ExportConfig, frame: pl.DataFrame) -> None:
    with replaced_file(config.out) as temporary:
        if config.format == "csv":
            frame.write_csv(temporary)
        elif config.format == "jsonl":
            frame.write_ndjson(temporary)
        else:
            write_table(temporary, frame)


def _write_tensors(out: Path, parts: dict[str, Tensor], opened: Run) -> None:
    learned = opened.learned.to_json()
    facts = {"dataset": learned["datasets"][0], "task": learned["task"]}
    tensors.save(out, parts, {"format": VECTORS_FORMAT, "kind": "vectors", **facts})


def _vectors_result(config: ExportConfig, vector_XD: Tensor) -> ExportResult:
    return ExportResult(
        path=config.out,
        what=config.what,
        format=config.format,
        rows=vector_XD.shape[0],
        dimension=vector_XD.shape[1],
    )


EXPORTS: dict[str, Callable[[ExportConfig, Run, Reporter], ExportResult]] = {
    "users": _export_users,
    "items": _export_items,
    "recommendations": _export_recommendations,
    "model": _export_model,
}
