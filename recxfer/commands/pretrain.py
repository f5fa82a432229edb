"""`pretrain`: a dataset in, a backbone out."""

import time
from pathlib import Path
from typing import Unpack

from torch import nn

from recxfer.commands.pretrain_config import PretrainConfig, PretrainData, PretrainResult
from recxfer.commands.training_config import TrainingOptions
from recxfer.data.dataset import Dataset
from recxfer.data.examples import (
    next_item_training,
    share_of_users,
)
from recxfer.data.rows import Rows
from recxfer.foundation import distributed
from recxfer.foundation.config import Component, Config, Settings
from recxfer.foundation.device import (
    choose_device,
    choose_precision,
    keep_freed_memory,
    set_threads,
)
from recxfer.foundation.errors import ConfigError, UsageError
from recxfer.foundation.reporting import Reporter
from recxfer.foundation.rng import Rng
from recxfer.methods import OBJECTIVES
from recxfer.methods.contract import AnyObjective, Phase
from recxfer.methods.task import Task
from recxfer.models import BACKBONES
from recxfer.models.backbones.contract import Backbone
from recxfer.models.content.config import ContentConfig
from recxfer.runs.header import (
    BackboneFacts,
    ComponentFacts,
    DatasetFacts,
    Header,
    LearnedTask,
    TrainingResult,
    TrainingSettings,
    code_facts,
)
from recxfer.runs.item_content import build_item_encoders, read_items_of
from recxfer.runs.record import DataPaths, RunRecord, relative_path
from recxfer.runs.run import write_run
from recxfer.training.held_out import check_metric_of, hold_out
from recxfer.training.optim import OptimConfig
from recxfer.training.session import Session, claim_output, finished_before, release_output
from recxfer.training.state import FitState


def resolve(
    dataset: Path,
    run: Path,
    *,
    settings: Settings,
    objective: str | None = None,
    backbone: str | None = None,
    epochs: int | None = None,
    batch_size: int | None = None,
    lr: float | None = None,
    **common: Unpack[TrainingOptions],
) -> PretrainConfig:
    """Decode settings and flags as one config.

    Args:
        dataset: a prepared dataset.
        run: the run to write.
        settings: file and `--set`.
        objective: name in OBJECTIVES.
        backbone: name in BACKBONES.
        epochs: passes over the data.
        batch_size: rows of a step.
        lr: peak learning rate.
        common: seed, device, precision, threads, overwrite, resume.

    Raises:
        ConfigError: with all problems at once.
        UsageError: the backbone cannot look where the objective does.
    """
    objective = settings.name("objective", objective, "next-item")
    backbone = settings.name("backbone", backbone, "sasrec")
    objective_type, backbone_type = OBJECTIVES.resolve(objective), BACKBONES.resolve(backbone)
    decoded = settings.decode(
        {
            "objective": objective_type.config_type,
            "backbone": backbone_type.config_type,
            "optim": OptimConfig,
            "data": PretrainData,
        },
        {"optim": {"epochs": epochs, "batch_size": batch_size, "lr": lr}},
        {
            "objective": Component(objective, OBJECTIVES),
            "backbone": Component(backbone, BACKBONES),
        },
    )
    optim: OptimConfig = decoded["optim"]  # type: ignore[assignment]  # decoded as asked
    if optim.batch_size < objective_type.smallest_batch:
        raise ConfigError(
            f"optim.batch_size is {optim.batch_size}, but {objective} compares the people of a "
            f"batch: it needs {objective_type.smallest_batch} at least",
            hint="raise --batch-size",
        )
    if backbone_type.causal_only and not objective_type(decoded["objective"]).causal:
        raise UsageError(
            f"objective {objective} looks at both sides of a position, and the backbone "
            f"{backbone} can only look to the left",
            hint=f"choose another backbone ({', '.join(_both_ways())}), or an objective that goes "
            "from left to right, such as next-item",
        )
    return PretrainConfig(
        dataset=dataset,
        run=run,
        objective=objective,
        objective_config=decoded["objective"],
        backbone=backbone,
        backbone_config=decoded["backbone"],  # type: ignore[arg-type]  # the table's own type
        optim=optim,
        data=decoded["data"],  # type: ignore[arg-type]  # decoded as asked
        **common,
    )


def run(config: PretrainConfig, reporter: Reporter) -> PretrainResult:
    """Train a backbone on a dataset and write it as a run; under torchrun, in several processes.

    Every process returns the same; the first one writes.
    """
    with distributed.process_group():
        return _run(config, reporter)


def _run(config: PretrainConfig, reporter: Reporter) -> PretrainResult:
    claim_output(
        config.run,
        overwrite=config.overwrite,
        resume=config.resume,
        inputs=[config.dataset],
    )
    set_threads(config.threads)
    keep_freed_memory()
    device = choose_device(config.device)
    precision = choose_precision(config.precision, device)
    dataset = Dataset(config.dataset)
    rng = Rng(config.seed)
    objective_type = OBJECTIVES.resolve(config.objective)
    objective: AnyObjective = objective_type(
        config.objective_config or objective_type.config_type()
    )
    backbone = _build_backbone(config, dataset, objective, rng)
    pretraining = objective.build(backbone, rng)
    check_metric_of(objective, pretraining, config.optim.metric)
    model: nn.Module = pretraining.model.to(device)
    read_items_of(model, dataset, reporter)
    header = _header(config, dataset, backbone, objective)
    finished = finished_before(
        config.run,
        header.identity(),
        overwrite=config.overwrite,
        resume=config.resume,
        reporter=reporter,
    )
    if finished is not None:
        pretraining.discard()
        return _result(
            config,
            model,
            epochs=finished.epochs,
            per_second=finished.record.sequences_per_second or 0.0,
            best_epoch=finished.training.best_epoch,
            validation=finished.training.validation,
        )
    max_length = backbone.config.max_length
    rows = next_item_training(dataset, max_length, backbone.inputs, windows=config.data.windows)
    rows = share_of_users(rows, config.data.train_share, rng)
    rows, validation = hold_out(
        dataset, pretraining, objective, rows, rng, device, reporter, config.optim.metric
    )
    pretraining.learner.observe(model, rows)
    trained = [name for name, p in model.named_parameters() if p.requires_grad]
    session = Session(
        run=config.run,
        model=model,
        learner=pretraining.learner,
        # An item encoder may be frozen, in whole or in part.
        phases=[Phase(name="pretrain", trainable=trained)],
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
    best = state.best_figures
    per_second = histories_per_second(state, rows)
    pretraining.discard()
    if distributed.is_first():
        write_run(
            config.run,
            parts=model.state_dict(),
            header=header.trained(TrainingResult(best_epoch=state.best_epoch, validation=best)),
            record=RunRecord(
                command="pretrain",
                tasks=(DataPaths(datasets=(relative_path(config.dataset, config.run),)),),
                settings=header.settings,
                device=str(device),
                precision=str(precision).removeprefix("torch."),
                seconds=round(time.perf_counter() - started, 1),
                sequences_per_second=round(per_second, 1),
            ),
            history=state.history,
            vocabulary=dataset.item_ids,
            overwrite=config.overwrite,
        )
        release_output(config.run)
    distributed.barrier()
    return _result(
        config,
        model,
        epochs=len(state.history),
        per_second=per_second,
        best_epoch=state.best_epoch,
        validation=best,
    )


def _result(
    config: PretrainConfig,
    model: nn.Module,
    *,
    epochs: int,
    per_second: float,
    best_epoch: int,
    validation: dict[str, float],
) -> PretrainResult:
    return PretrainResult(
        path=config.run,
        objective=config.objective,
        backbone=config.backbone,
        parameters=sum(p.numel() for p in model.parameters()),
        epochs=epochs,
        best_epoch=best_epoch,
        validation=validation,
        sequences_per_second=per_second,
    )


def histories_per_second(state: FitState, rows: Rows) -> float:
    """Measure users per second: windows of the same history count as one."""
    users = rows.user_R.unique().numel()
    return state.sequences * users / len(rows) / state.seconds if state.seconds else 0.0


def _both_ways() -> list[str]:
    """List the backbones that can look to both sides."""
    return [e.name for e in BACKBONES if not BACKBONES.resolve(e.name).causal_only]


def _build_backbone(
    config: PretrainConfig, dataset: Dataset, objective: AnyObjective, rng: Rng
) -> Backbone:
    backbone_type = BACKBONES.resolve(config.backbone)
    rng.seed_all("backbone")
    backbone: Backbone = backbone_type(
        config.backbone_config or backbone_type.config_type(),
        dataset.num_items,
        causal=objective.causal,
    )
    if objective.content is not None:
        build_item_encoders(backbone, objective.content, dataset, rng)
    return backbone


def _portable(objective: AnyObjective) -> Config:
    """Return an objective's config as another host can read it."""
    config: Config = objective.config
    return config.portable() if isinstance(config, ContentConfig) else config


def _header(
    config: PretrainConfig,
    dataset: Dataset,
    backbone: Backbone,
    objective: AnyObjective,
) -> Header:
    learned = LearnedTask(
        task=Task("next-item", dataset.num_items),
        datasets=(DatasetFacts.of(dataset),),
        max_length=backbone.config.max_length,
    )
    return Header(
        kind="backbone",
        objective=ComponentFacts.of(config.objective, _portable(objective)),
        backbone=BackboneFacts.of(backbone),
        tasks=(learned,),
        seed=config.seed,
        settings=TrainingSettings.of(config.optim, config.data, config.precision, config.device),
        processes=distributed.world_size(),
        code=code_facts((OBJECTIVES, config.objective), (BACKBONES, config.backbone)),
    )
