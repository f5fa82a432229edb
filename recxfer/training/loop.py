"""The one training loop. It knows batches, a loss and a validation; never a method's name."""

import math
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from recxfer.data.batches import evaluation_batches, training_batches
from recxfer.data.rows import Batch, Rows
from recxfer.foundation import distributed
from recxfer.foundation.device import autocast
from recxfer.foundation.errors import DivergedError
from recxfer.foundation.reporting import Progress, Reporter
from recxfer.foundation.rng import Rng
from recxfer.methods.contract import Phase
from recxfer.training.optim import OptimConfig, build_optimiser, learning_rate
from recxfer.training.state import FitState, SavedState

SAVE_SECONDS = 300.0
"""Within an epoch, the state is saved this often; it is always saved between epochs."""

CHECK_STEPS = 50
"""Steps between two looks at whether the loss is finite; each look waits for the device. Logs have
a line for each of them."""

Validate = Callable[[nn.Module], dict[str, float]]
Save = Callable[[FitState, nn.Module, torch.optim.Optimizer], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Training:
    """Constants of all phases of a run."""

    rows: Rows
    loss: Callable[[nn.Module, Batch, Rng], Tensor]
    validate: Validate
    """Validation metrics of the model as it is."""

    metric: str
    """The metric that chooses the best epoch."""

    quality: Callable[[Mapping[str, float]], float]
    """Its value among validation metrics, negative where lower is better."""

    optim: OptimConfig
    rng: Rng
    device: torch.device
    precision: torch.dtype
    reporter: Reporter
    save: Save
    stop: Callable[[], bool]
    """Whether the user asked to stop; the state is then saved and KeyboardInterrupt raised."""


def fit(
    model: nn.Module, phase: Phase, training: Training, state: FitState, saved: SavedState | None
) -> None:
    """Train one phase to its end and leave the model with its best epoch's weights.

    Args:
        model: on the device.
        phase: what trains.
        training: everything else.
        state: the position, updated in place.
        saved: the resume file this phase goes on from, or None.

    Raises:
        DivergedError: the loss left the finite numbers.
    """
    if phase.epochs_share == 0:
        return
    optim = training.optim
    epochs = max(1, round(optim.epochs * phase.epochs_share))
    freeze_all_but(model, phase.trainable)
    optimiser = build_optimiser(model, phase, optim)
    if saved is not None:
        model.load_state_dict(saved.model)
        saved.restore_optimiser(optimiser)
    with training.reporter.progress(f"{phase.name}", epochs, "epochs") as epochs_done:
        epochs_done.advance(state.epoch)
        while state.epoch < epochs and not _out_of_patience(state, optim):
            _train_epoch(model, phase, training, state, optimiser, epochs)
            state.epoch, state.step = state.epoch + 1, 0
            try:
                if state.epoch % optim.validate_every == 0 or state.epoch == epochs:
                    _validate(model, phase, training, state)
            finally:  # an epoch after which training ends by an error is told as well
                training.reporter.record(state.steps, state.history[-1])
            epochs_done.advance(1, **_shown(state, training.metric))
            training.save(state, model, optimiser)
    model.load_state_dict(state.best, strict=False)


def freeze_all_but(model: nn.Module, trainable: Collection[str]) -> None:
    """Let only these parameters take gradients: the rest keeps neither gradients nor activations.

    Args:
        model: what is to be trained.
        trainable: names of its parameters.
    """
    chosen = frozenset(trainable)
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name in chosen)


def cache_vectors(
    model: nn.Module,
    rows: Rows,
    encode: Callable[[Batch], Tensor | None] | None,
    device: torch.device,
) -> Rows:
    """Encode rows once, where their vectors never change; else return the same rows.

    Always in float32: what is computed once may as well be exact.
    """
    if encode is None:
        return rows
    cached_RD: Tensor | None = None
    model.eval()
    with torch.inference_mode():
        for row_B in evaluation_batches(rows):
            vector_BD = encode(rows.batch(row_B).to(device))
            if vector_BD is None:
                return rows
            if cached_RD is None:
                cached_RD = torch.empty(len(rows), vector_BD.shape[1])
            cached_RD[row_B] = vector_BD.float().cpu()
    return replace(rows, cached_RD=cached_RD)


def _train_epoch(
    model: nn.Module,
    phase: Phase,
    training: Training,
    state: FitState,
    optimiser: torch.optim.Optimizer,
    epochs: int,
) -> None:
    optim, rng = training.optim, training.rng
    order = rng.generator("order", state.phase, state.epoch)
    batches = training_batches(training.rows.length_R, optim.batch_size, order)
    if state.step == 0:
        state.loss_sum = 0.0
    model.train()
    named = dict(model.named_parameters())
    trained = [named[name] for name in phase.trainable]
    started = last_save = time.perf_counter()
    pending: list[Tensor] = []
    description = f"{phase.name} epoch {state.epoch + 1}"
    with training.reporter.progress(description, len(training.rows), "rows") as progress:
        for step in range(state.step, len(batches)):
            # The first process draws what one alone would draw.
            mine = () if distributed.is_first() else (distributed.rank(),)
            stream = Rng(rng.derive("step", state.phase, state.epoch, step, *mine))
            stream.seed_all("dropout")
            if phase.schedule is not None:
                phase.schedule((state.epoch + step / len(batches)) / epochs)
            rate = learning_rate(optim, (state.epoch + (step + 1) / len(batches)) / epochs)
            for group in optimiser.param_groups:
                group["lr"] = rate * group["rate"]
            batch = training.rows.batch(distributed.shard(batches[step])).to(training.device)
            with autocast(training.device, training.precision):
                loss = training.loss(model, batch, stream)
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            loss, stop = distributed.all_reduce(trained, loss.detach(), stop=training.stop())
            if optim.clip:
                nn.utils.clip_grad_norm_(trained, optim.clip)
            optimiser.step()
            pending.append(loss)
            state.step, state.steps = step + 1, state.steps + 1
            state.sequences += batches[step].numel()
            progress.advance(batches[step].numel())
            if stop or len(pending) == CHECK_STEPS or state.step == len(batches):
                _settle(state, pending, phase, rate, training.reporter, progress)
                if stop or time.perf_counter() - last_save > SAVE_SECONDS:
                    training.save(state, model, optimiser)
                    last_save = time.perf_counter()
            if stop:
                raise KeyboardInterrupt
    state.seconds += time.perf_counter() - started
    state.history.append(
        {
            "phase": phase.name,
            "epoch": state.epoch + 1,
            "lr": learning_rate(optim, (state.epoch + 1) / epochs),
            "loss": state.loss_sum / max(len(batches), 1),
        }
    )


def _settle(
    state: FitState,
    pending: list[Tensor],
    phase: Phase,
    rate: float,
    reporter: Reporter,
    progress: Progress,
) -> None:
    """Bring the losses of the last steps to the CPU, report their mean and check them."""
    values = torch.stack(pending).double().tolist()
    pending.clear()
    mean = sum(values) / len(values)
    told = {"phase": phase.name, "epoch": state.epoch + 1, "lr": rate, "step_loss": mean}
    reporter.record(state.steps, told)
    state.loss_sum += sum(values)
    if not math.isfinite(state.loss_sum):
        raise DivergedError(
            f"the loss is not finite in phase {phase.name}, epoch {state.epoch + 1}, "
            f"by step {state.step}",
            hint="lower --lr, keep --set optim.clip=1, or use --precision fp32",
        )
    progress.advance(0, loss=values[-1])


def _validate(model: nn.Module, phase: Phase, training: Training, state: FitState) -> None:
    model.eval()
    with torch.inference_mode(), autocast(training.device, training.precision):
        metrics = distributed.broadcast_from_first(lambda: training.validate(model))
    state.history[-1].update(metrics)
    value = training.quality(metrics)
    if state.best_value is None or value > state.best_value:
        state.best_value, state.best_epoch = value, state.epoch
        # Buffers move too: running statistics belong to the weights they were gathered under.
        named = (name for name, _ in model.named_parameters(remove_duplicate=False))
        frozen = set(named) - set(phase.trainable)
        state.best = {
            name: tensor.detach().clone()
            for name, tensor in model.state_dict().items()
            if name not in frozen
        }


def _out_of_patience(state: FitState, optim: OptimConfig) -> bool:
    waited = (state.epoch - state.best_epoch) // optim.validate_every
    return bool(optim.patience) and state.best_value is not None and waited >= optim.patience


def _shown(state: FitState, metric: str) -> dict[str, float]:
    record = state.history[-1]
    return {name: float(record[name]) for name in ("loss", metric) if name in record}
