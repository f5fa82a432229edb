"""`transfer`: a pretrained run and a target dataset in, an adapted run out."""

import shutil
import time
from collections.abc import Collection
from dataclasses import replace

from recxfer.commands.transfer_config import (
    TransferConfig,
    TransferData,
    TransferResult,
    resolve,
)
from recxfer.foundation.device import (
    choose_device,
    choose_precision,
    keep_freed_memory,
    set_threads,
)
from recxfer.foundation.reporting import Reporter, SilentReporter
from recxfer.foundation.rng import Rng
from recxfer.methods.contract import adapt
from recxfer.runs.counts import count, count_body
from recxfer.runs.header import ComponentFacts, Header, TrainingResult, TrainingSettings
from recxfer.runs.item_content import read_items_of
from recxfer.runs.open import OpenedBase, open_base
from recxfer.runs.transfer_task import NO_BASE, TransferTask, of_pretraining, resolve_transfer
from recxfer.runs.transferred import TransferredRun
from recxfer.training.loop import cache_vectors
from recxfer.training.session import Session, claim_output, finished_before, release_output
from recxfer.training.validation import Validation, check_metric

__all__ = ["TransferConfig", "TransferResult", "resolve", "run"]


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
    protects = task.needs.first_task and opened is not None and opened.is_pretrained
    if protects and not task.of_pretraining:
        assert opened is not None
        return _after_pretraining(config, opened, task, reporter)
    return _learn(config, task, reporter)


def _after_pretraining(
    config: TransferConfig, opened: OpenedBase, task: TransferTask, reporter: Reporter
) -> TransferResult:
    """Protect the task of the pretraining, then learn the one that was asked for."""
    header = _run_of(config, task).header(keeps_tasks=True)
    # What depends on the base with its own task protected, and not only on the base.
    done = _finished(config, header, reporter, left_out=("parent", "backbone", "max_length"))
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
    again = replace(config, base=run)
    task = _resolve(again, open_base(run, Rng(config.seed)))
    result = _learn(config, task, reporter)
    shutil.rmtree(run)
    return result


def _learn(config: TransferConfig, task: TransferTask, reporter: Reporter) -> TransferResult:
    """Learn one task from one base."""
    device, rng, base = choose_device(config.device), Rng(config.seed), task.base
    task.check()
    ranks_items, metric = task.task.ranks_items, config.optim.metric
    check_metric(metric, ranks_items=ranks_items)
    body = 0 if base.encoder is None else count_body(base.encoder, base.encoder.parameters())
    adapted = adapt(config.build_method(), base, task.task, rng)
    task.check_adapted(adapted)
    made = _run_of(config, task)
    header = made.header(keeps_tasks=adapted.keeps_tasks)
    model = adapted.model.to(device)
    read_items_of(model, task.read, reporter)
    done = _finished(config, header, reporter)
    if done is not None:
        return done
    counts = count(adapted, body)
    rows, held_out = task.examples(config.data.train_share, rng, reporter)
    task.warn(adapted, reporter)
    adapted.learner.observe(model, rows)
    held_out = cache_vectors(model, held_out, adapted.encode_once, device)
    session = Session(
        run=config.run,
        model=model,
        learner=adapted.learner,
        phases=adapted.phases,
        rows=cache_vectors(model, rows, adapted.encode_once, device),
        validation=Validation.of(
            adapted.learner, held_out, rng, device, ranks_items=ranks_items, metric=metric
        ),
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
    figures = state.best_figures if trained else session.measure()
    training = TrainingResult(best_epoch=state.best_epoch, validation=figures)
    record = made.record(counts, str(device), time.perf_counter() - started)
    made.write(adapted, training, record, state.history, overwrite=config.overwrite)
    release_output(config.run)
    return TransferResult.of(config, counts, len(state.history))


def _claim(config: TransferConfig) -> None:
    inputs = [config.dataset, *([config.source] if config.source else [])]
    if config.base != NO_BASE:
        inputs.append(config.base)
    claim_output(config.run, overwrite=config.overwrite, resume=config.resume, inputs=inputs)


def _resolve(config: TransferConfig, opened: OpenedBase | None) -> TransferTask:
    """Resolve the base, the task and their data."""
    return resolve_transfer(
        config.method,
        config.build_method().needs,
        opened,
        config.dataset,
        task=config.task,
        source=config.source,
        max_length=config.data.max_length,
    )


def _run_of(config: TransferConfig, task: TransferTask) -> TransferredRun:
    return TransferredRun(
        path=config.run,
        base=config.base,
        task=task,
        method=ComponentFacts.of(config.method, config.build_method().config),
        seed=config.seed,
        settings=TrainingSettings.of(config.optim, config.data, config.precision, config.device),
    )


def _finished(
    config: TransferConfig, header: Header, reporter: Reporter, left_out: Collection[str] = ()
) -> TransferResult | None:
    """Return the result of a run that is finished; None where there is work to do.

    Args:
        config: what was asked for.
        header: of the run, before any training.
        reporter: told that it was finished.
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
    assert finished.record.counts is not None, "every transferred run notes its counts"
    return TransferResult.of(config, finished.record.counts, finished.epochs)
