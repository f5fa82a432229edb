"""`transfer`: a pretrained run and a target dataset in, an adapted run out."""

import shutil
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from recxfer.commands.pretrain import best_record
from recxfer.commands.transfer_config import (
    TransferConfig,
    TransferData,
    TransferOptim,
    TransferResult,
)
from recxfer.commands.transfer_header import (
    changed,
    count,
    count_body,
    keeping_tasks,
    record_with_earlier,
    transfer_header,
    transfer_record,
    with_earlier,
)
from recxfer.data.dataset import Dataset
from recxfer.data.examples import share_of_people
from recxfer.foundation import tensors
from recxfer.foundation.config import Component, Settings
from recxfer.foundation.console import Reporter, SilentReporter
from recxfer.foundation.device import (
    autocast,
    choose_device,
    choose_precision,
    keep_freed_memory,
    set_threads,
)
from recxfer.foundation.errors import UsageError
from recxfer.foundation.files import sha256_of
from recxfer.foundation.names import CHECKPOINT
from recxfer.foundation.rng import Rng
from recxfer.methods import METHODS
from recxfer.methods.contract import Learner, Method
from recxfer.methods.supervised import tensors_of
from recxfer.methods.task import Task, parse_task
from recxfer.models.user_model import UserModel
from recxfer.runs.compatibility import (
    check_base,
    check_needs,
    check_rows,
    longest_history,
    refuse_repeated,
    resolve_task,
    warn_exposed,
)
from recxfer.runs.header import (
    DatasetFacts,
    Json,
    LearnedTask,
    TrainingResult,
    checkpoint_of,
    read_header,
)
from recxfer.runs.item_content import read_items_of
from recxfer.runs.multitask import (
    free_share,
    held_parts,
    pack_tasks,
)
from recxfer.runs.open import open_base
from recxfer.runs.record import Counts, read_record, resolve_path
from recxfer.runs.run import check_vocabulary, task_rows, write_run
from recxfer.training.loop import cache_vectors
from recxfer.training.session import Session, claim_output, finished_before, release_output
from recxfer.training.validation import Validation

_OF_FIRST = frozenset({"parent", "backbone", "max_length"})
"""Facts that depend on the base with its own task protected, and not only on the base."""


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

    Where a method protects what the base was pretrained for, a fresh base first goes through the
    method's phases for that task alone. That run lies beside the one asked for until it is done.
    """
    inputs = [config.base, config.dataset, *([config.source] if config.source else [])]
    claim_output(config.run, overwrite=config.overwrite, resume=config.resume, inputs=inputs)
    set_threads(config.threads)
    keep_freed_memory()
    method = _method(config)
    header = read_header(config.base)
    if not (method.needs.first_task and header.kind == "backbone"):
        return _adapt(config, config.base, reporter, of_base=False)
    own = Dataset(resolve_path(config.base, read_record(config.base).tasks[0].datasets[0]))
    target = Dataset(config.dataset)
    if config.task == "next-item" and target.info.fingerprint == own.info.fingerprint:
        check_vocabulary(target, header.last.dataset, config.base)
        return _adapt(config, config.base, reporter, of_base=True)
    task, source = resolve_task(config.task, config.base, header, target, config.source)
    learned = _learned(task, source, target, max_length=0)
    identity = transfer_header(config, method, header, "", learned).identity()
    known = {key: value for key, value in identity.items() if key not in _OF_FIRST}
    known["pretrained"] = sha256_of(checkpoint_of(config.base))
    done = _finished(config, known, reporter, None)
    if done is not None:
        return done
    _refuse_early(config, method, task, source, target)
    first = config.run.with_name(f"{config.run.name}.first")
    claim_output(first, overwrite=config.overwrite, resume=config.resume, inputs=inputs)
    alone = replace(
        config, dataset=own.path, task="next-item", source=None, run=first, data=TransferData()
    )
    _adapt(alone, config.base, reporter, of_base=True)
    result = _adapt(config, first, reporter, of_base=False)
    shutil.rmtree(first)
    return result


def _learned(task: Task, source: Dataset | None, target: Dataset, max_length: int) -> LearnedTask:
    return LearnedTask(
        task=task,
        datasets=(DatasetFacts.of(target),),
        source=None if source is None else DatasetFacts.of(source),
        max_length=max_length,
    )


def _method(config: TransferConfig) -> Method[Any, Any]:
    method_type = METHODS.resolve(config.method)
    method: Method[Any, Any] = method_type(config.method_config or method_type.config_type())
    return method


def _adapt(
    config: TransferConfig, base_path: Path, reporter: Reporter, *, of_base: bool
) -> TransferResult:
    """Learn one task from one base.

    Args:
        config: what was asked for.
        base_path: the base, which is the one asked for, or that with its own task protected.
        reporter: progress.
        of_base: whether the task is that of the base's pretraining.
    """
    device, rng, method = choose_device(config.device), Rng(config.seed), _method(config)
    base, base_header, base_sha256 = open_base(base_path, rng)
    holds = method.holds(base)
    check_base(config.method, method.needs, base, base_path, holds=holds)
    target = Dataset(config.dataset)
    task, source = resolve_task(config.task, base_path, base_header, target, config.source)
    if not of_base:
        check_needs(config.method, method.needs, base, task)
        if holds:
            refuse_repeated(base_path, base_header.tasks, task, target)
    max_length = longest_history(config.data.max_length, base.backbone)
    learned = _learned(task, source, target, max_length)
    header = transfer_header(config, method, base_header, base_sha256, learned)
    if holds:
        header = keeping_tasks(header, base_header, base_sha256, base.backbone)
    body = count_body(base.backbone, base.backbone.parameters())
    for module in base.pretrained:  # before tensors are noted: buffers that move are new ones
        module.to(device)
    kept = {id(tensor) for tensor in tensors_of(base.pretrained)}
    model: nn.Module = method.assemble(base, task, rng).to(device)
    read_items_of(model, source or target, reporter)
    phases = method.phases(model, task)
    counts = count(model, phases, body)
    done = _finished(config, header.identity(), reporter, counts)
    if done is not None:
        return done
    learner: Learner = base.held[0].learner if of_base else method
    rows = task_rows(task, source, target, "train", max_length)
    rows = share_of_people(rows, config.data.train_share, rng)
    held_out = task_rows(task, source, target, "valid", max_length)
    check_rows(config.dataset, task, rows, held_out, reporter)
    if holds:
        warn_exposed(base_path, target, reporter)
    learner.count(model, rows)
    rows = cache_vectors(model, rows, method.frozen_vectors, device)
    held_out = cache_vectors(model, held_out, method.frozen_vectors, device)
    validation = Validation.of(learner, held_out, rng, device, ranks_items=task.ranks_items)
    precision = choose_precision(config.precision, device)

    def measure() -> dict[str, float]:
        model.eval()
        with torch.inference_mode(), autocast(device, precision):
            return validation(model)

    session = Session(
        run=config.run,
        model=model,
        learner=learner,
        phases=phases,
        close=lambda model, phase: method.close(model, phase, lambda: measure()[validation.metric]),
        rows=rows,
        validation=validation,
        optim=config.optim,
        rng=rng,
        device=device,
        precision=precision,
        reporter=reporter,
        depends_on=header.identity(),
    )
    started = time.perf_counter()
    state = session.train(resume=config.resume)
    trained = bool(phases) and phases[-1].epochs_share > 0
    training = TrainingResult(
        best_epoch=state.best_epoch, validation=best_record(state) if trained else measure()
    )
    seconds = time.perf_counter() - started
    record = transfer_record(config, header.settings, source, device, seconds, counts)
    if holds:
        assert isinstance(model, UserModel)
        number = 1 if of_base else len(base.held) + 1
        before = held_parts(base_header, tensors.load(base_path / CHECKPOINT)[0])
        parts = pack_tasks(model, before, task, number)
        header = with_earlier(header.trained(training, "tasks"), base_header, model, number)
        if of_base:
            own = header.last.model_copy(update={"method": None})
            header = header.model_copy(update={"tasks": (own,)})
        record = record_with_earlier(record, base_path, config.run, number)
    else:
        parts = changed(model, kept, {id(p) for phase in phases for p in phase.trainable})
        whole = len(parts) == len(model.state_dict())
        header = header.trained(training, "merged" if whole else "delta")
    size = write_run(
        config.run,
        parts=parts,
        header=header,
        record=record,
        history=state.history,
        vocabulary=target.item_ids,
        overwrite=config.overwrite,
    )
    release_output(config.run)
    return _result(config, counts, len(state.history), size, training)


def _refuse_early(
    config: TransferConfig,
    method: Method[Any, Any],
    task: Task,
    source: Dataset | None,
    target: Dataset,
) -> None:
    """Refuse what cannot be learned before the base's own task is, which takes its time."""
    base, _, _ = open_base(config.base, Rng(config.seed))
    check_base(config.method, method.needs, base, config.base, holds=method.holds(base))
    check_needs(config.method, method.needs, base, task)
    max_length = longest_history(config.data.max_length, base.backbone)
    rows = task_rows(task, source, target, "train", max_length)
    held_out = task_rows(task, source, target, "valid", max_length)
    check_rows(config.dataset, task, rows, held_out, SilentReporter())


def _finished(
    config: TransferConfig, known: Json, reporter: Reporter, counts: Counts | None
) -> TransferResult | None:
    """What a run that is finished already answers; None where there is work to do.

    Args:
        config: what was asked for.
        known: facts that the run must share.
        reporter: told that it was finished.
        counts: of its model; None where its base, with its own task protected, is no longer there:
            they are then those of its `run.json`.
    """
    finished = finished_before(
        config.run, known, overwrite=config.overwrite, resume=config.resume, reporter=reporter
    )
    if finished is None:
        return None
    size = (config.run / CHECKPOINT).stat().st_size
    counts = counts or finished.record.counts
    assert counts is not None
    return _result(config, counts, finished.epochs, size, finished.training)


def _result(
    config: TransferConfig, counts: Counts, epochs: int, size: int, training: TrainingResult
) -> TransferResult:
    return TransferResult(
        path=config.run,
        method=config.method,
        task=config.task,
        parameters=counts.parameters,
        trained_parameters=counts.trained,
        trained_share=counts.trained_of_body / counts.body,
        counted=f"{counts.trained_of_body:,} of the backbone's {counts.body:,} parameters; "
        "item table, tokens and head left out",
        epochs=epochs,
        best_epoch=training.best_epoch,
        validation=training.validation,
        delta_bytes=size,
        free_share=free_share(read_header(config.run)),
    )
