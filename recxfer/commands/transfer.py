"""`transfer`: a pretrained run and a target dataset in, an adapted run out."""

import shutil
import time
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path
from typing import Any

from recxfer.commands.transfer_config import (
    TransferConfig,
    TransferData,
    TransferOptim,
    TransferResult,
)
from recxfer.data.dataset import Dataset
from recxfer.foundation.config import Component, Settings
from recxfer.foundation.console import Reporter, SilentReporter
from recxfer.foundation.device import (
    choose_device,
    choose_precision,
    keep_freed_memory,
    set_threads,
)
from recxfer.foundation.errors import UsageError
from recxfer.foundation.names import CHECKPOINT
from recxfer.foundation.rng import Rng
from recxfer.methods import METHODS
from recxfer.methods.contract import AnyMethod, adapt
from recxfer.methods.task import parse_task
from recxfer.runs.counts import count, count_body
from recxfer.runs.header import (
    ComponentFacts,
    Header,
    TrainingResult,
    TrainingSettings,
    read_header,
)
from recxfer.runs.item_content import read_items_of
from recxfer.runs.multitask import free_share
from recxfer.runs.open import OpenedBase, open_base
from recxfer.runs.record import Counts, RunRecord, relative_path
from recxfer.runs.transfer_task import NO_BASE, TransferTask, of_pretraining, resolve_transfer
from recxfer.runs.transferred import data_paths, transfer_header, write_transferred
from recxfer.training.loop import cache_vectors
from recxfer.training.session import Session, claim_output, finished_before, release_output
from recxfer.training.state import best_record
from recxfer.training.validation import Validation, check_metric


def resolve(
    base: Path,
    dataset: Path,
    run: Path,
    *,
    settings: Settings,
    method: str | None,
    task: str = "next-item",
    source: Path | None = None,
    epochs: int | None = None,
    batch_size: int | None = None,
    lr: float | None = None,
    **common: Any,
) -> TransferConfig:
    """Settings and flags as one config.

    Args:
        base: a pretrained run.
        dataset: the target.
        run: the run to write.
        settings: file and `--set`.
        method: name in METHODS.
        task: `next-item`, `cross-domain` or `profile:COLUMN`.
        source: where `cross-domain` histories are read, if not the base's own dataset.
        epochs: passes over the data.
        batch_size: rows of a step.
        lr: peak learning rate.
        common: seed, device, precision, threads, overwrite, resume.

    Raises:
        ConfigError: with all problems at once.
        UsageError: the method or task is unknown.
    """
    method = settings.name("method", method, "")
    if not method:
        raise UsageError(
            "no method was chosen", hint=f"pass --method with one of {', '.join(METHODS.names)}"
        )
    parse_task(task)
    decoded = settings.decode(
        {
            "method": METHODS.resolve(method).config_type,
            "optim": TransferOptim,
            "data": TransferData,
        },
        {"optim": {"epochs": epochs, "batch_size": batch_size, "lr": lr}},
        {"method": Component(method, METHODS)},
    )
    return TransferConfig(
        base=base,
        dataset=dataset,
        run=run,
        method=method,
        method_config=decoded["method"],
        task=task,
        source=source,
        optim=decoded["optim"],  # type: ignore[arg-type]  # decoded as asked
        data=decoded["data"],  # type: ignore[arg-type]  # decoded as asked
        **common,
    )


def run(config: TransferConfig, reporter: Reporter) -> TransferResult:
    """Adapt a base to a task by a method and write the result as a run.

    Where a method protects what the base was pretrained for, a fresh base is first adapted to that
    task. That run lies beside the one asked for until it is done.
    """
    _claim(config)
    set_threads(config.threads)
    keep_freed_memory()
    opened = None if config.base == NO_BASE else open_base(config.base, Rng(config.seed))
    task = _resolve(config, opened)
    method = _method(config)
    protects = method.needs.first_task and opened is not None and opened.is_pretrained
    if protects and not task.of_pretraining:
        assert opened is not None
        return _after_pretraining(config, opened, task, reporter)
    return _learn(config, task, reporter)


def _after_pretraining(
    config: TransferConfig, opened: OpenedBase, task: TransferTask, reporter: Reporter
) -> TransferResult:
    """Protect the task of the pretraining, then learn the one that was asked for."""
    header = _header(config, task, keeps_tasks=True)
    depends_on_base = ("parent", "backbone", "max_length")
    done = _finished(config, header, reporter, None, left_out=depends_on_base)
    if done is not None:
        return done
    task.check()  # before the first task is learned, which takes its time
    check_metric(config.optim.metric, ranks_items=task.task.ranks_items)
    task.examples(1.0, Rng(config.seed), SilentReporter())
    own = of_pretraining(config.method, task.needs, opened)
    run = config.run.with_name(f"{config.run.name}.first")
    first = replace(
        config,
        dataset=own.target.path,
        task="next-item",
        source=None,
        run=run,
        data=TransferData(),
        # Chosen for the task that was asked for; this one is held to its default.
        optim=config.optim.model_copy(update={"metric": None}),
    )
    _claim(first)
    _learn(first, own, reporter)
    result = _learn(config, _resolve(config, open_base(run, Rng(config.seed))), reporter)
    shutil.rmtree(run)
    return result


def _learn(config: TransferConfig, task: TransferTask, reporter: Reporter) -> TransferResult:
    """Learn one task from one base."""
    device, rng, base = choose_device(config.device), Rng(config.seed), task.base
    task.check()
    ranks_items, metric = task.task.ranks_items, config.optim.metric
    check_metric(metric, ranks_items=ranks_items)
    body = 0 if base.encoder is None else count_body(base.encoder, base.encoder.parameters())
    adapted = adapt(_method(config), base, task.task, rng)
    task.check_adapted(adapted)
    header = _header(config, task, keeps_tasks=adapted.keeps_tasks)
    model = adapted.model.to(device)
    read_items_of(model, task.read, reporter)
    counts = count(adapted, body)
    done = _finished(config, header, reporter, counts)
    if done is not None:
        return done
    rows, held_out = task.examples(config.data.train_share, rng, reporter)
    task.warn(adapted, reporter)
    adapted.learner.observe(model, rows)
    held_out = cache_vectors(model, held_out, adapted.encode_once, device)
    validation = Validation.of(
        adapted.learner, held_out, rng, device, ranks_items=ranks_items, metric=metric
    )
    session = Session(
        run=config.run,
        model=model,
        learner=adapted.learner,
        phases=adapted.phases,
        rows=cache_vectors(model, rows, adapted.encode_once, device),
        validation=validation,
        optim=config.optim,
        rng=rng,
        device=device,
        precision=choose_precision(config.precision, device),
        reporter=reporter,
        depends_on=header.identity(),
    )
    started = time.perf_counter()
    state = session.train(resume=config.resume)
    trained = bool(adapted.phases) and adapted.phases[-1].epochs_share > 0
    figures = best_record(state) if trained else session.measure()
    training = TrainingResult(best_epoch=state.best_epoch, validation=figures)
    seconds = time.perf_counter() - started
    size = write_transferred(
        config.run,
        task,
        adapted,
        header=header,
        record=_record(config, task, header.settings, str(device), seconds, counts),
        training=training,
        history=state.history,
        overwrite=config.overwrite,
    )
    release_output(config.run)
    return _result(config, counts, len(state.history), size, training)


def _claim(config: TransferConfig) -> None:
    inputs = [config.dataset, *([config.source] if config.source else [])]
    if config.base != NO_BASE:
        inputs.append(config.base)
    claim_output(config.run, overwrite=config.overwrite, resume=config.resume, inputs=inputs)


def _method(config: TransferConfig) -> AnyMethod:
    method_type = METHODS.resolve(config.method)
    method: AnyMethod = method_type(config.method_config or method_type.config_type())
    return method


def _resolve(config: TransferConfig, opened: OpenedBase | None) -> TransferTask:
    """What was asked for, against a base."""
    return resolve_transfer(
        config.method,
        METHODS.resolve(config.method).needs,
        opened,
        Dataset(config.dataset),
        task=config.task,
        source=config.source,
        max_length=config.data.max_length,
    )


def _header(config: TransferConfig, task: TransferTask, *, keeps_tasks: bool) -> Header:
    return transfer_header(
        task,
        ComponentFacts.of(config.method, _method(config).config),
        keeps_tasks=keeps_tasks,
        seed=config.seed,
        settings=TrainingSettings.of(config.optim, config.data, config.precision, config.device),
    )


def _record(
    config: TransferConfig,
    task: TransferTask,
    settings: TrainingSettings,
    device: str,
    seconds: float,
    counts: Counts,
) -> RunRecord:
    return RunRecord(
        command="transfer",
        method=config.method,
        task=config.task,
        base=None if task.opened is None else relative_path(config.base, config.run),
        tasks=(data_paths(task, config.run),),
        settings=settings,
        counts=counts,
        device=device,
        seconds=round(seconds, 1),
    )


def _finished(
    config: TransferConfig,
    header: Header,
    reporter: Reporter,
    counts: Counts | None,
    left_out: Collection[str] = (),
) -> TransferResult | None:
    """What a run that is finished already answers; None where there is work to do.

    Args:
        config: what was asked for.
        header: of the run, before any training.
        reporter: told that it was finished.
        counts: of its model; None where its base, with its own task protected, is no longer there:
            they are then those of its `run.json`.
        left_out: facts of `Header.identity` that the run need not share.
    """
    finished = finished_before(
        config.run,
        {key: value for key, value in header.identity().items() if key not in left_out},
        overwrite=config.overwrite,
        resume=config.resume,
        reporter=reporter,
    )
    if finished is None:
        return None
    size = (config.run / CHECKPOINT).stat().st_size
    counts = counts or finished.record.counts
    assert counts is not None, "every transferred run notes its counts"
    return _result(config, counts, finished.epochs, size, finished.training)


def _result(
    config: TransferConfig,
    counts: Counts,
    epochs: int,
    size: int,
    training: TrainingResult,
) -> TransferResult:
    share = counts.trained_of_body / counts.body if counts.body else 0.0
    return TransferResult(
        path=config.run,
        method=config.method,
        task=config.task,
        parameters=counts.parameters,
        trained_parameters=counts.trained,
        trained_share=share,
        counted=f"{counts.trained_of_body:,} of the backbone's {counts.body:,} parameters; "
        "item table, tokens and head left out",
        epochs=epochs,
        best_epoch=training.best_epoch,
        validation=training.validation,
        delta_bytes=size,
        free_share=free_share(read_header(config.run)),
    )
