"""Run one training from start to end: state, resume, phases and interruption."""

import shutil
import signal
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

import polars as pl
import torch
from torch import nn

from recxfer.data.rows import Rows
from recxfer.foundation import distributed
from recxfer.foundation.device import autocast
from recxfer.foundation.errors import UsageError
from recxfer.foundation.files import Json, refuse_existing
from recxfer.foundation.names import HISTORY, RESUME, RUN_JSON
from recxfer.foundation.reporting import Reporter
from recxfer.foundation.rng import Rng
from recxfer.foundation.signals import Terminated
from recxfer.methods.contract import AnyLearner, Phase
from recxfer.runs.header import TrainingResult, read_header
from recxfer.runs.record import RunRecord, read_record
from recxfer.training.loop import Training, fit
from recxfer.training.optim import OptimConfig
from recxfer.training.state import FitState, load_state, refuse_other, save_state
from recxfer.training.validation import Validates

_STOPPING = (signal.SIGINT, signal.SIGTERM)


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """A training: its place, model, phases and data."""

    run: Path
    """Where the finished run will lie; the state lies beside it until then."""

    model: nn.Module
    learner: AnyLearner
    phases: Sequence[Phase]
    rows: Rows
    validation: Validates
    optim: OptimConfig
    rng: Rng
    device: torch.device
    precision: torch.dtype
    reporter: Reporter
    depends_on: Json
    """JSON facts that a resumed run must share with the interrupted one."""

    @property
    def partial(self) -> Path:
        """The directory of the state of an unfinished run."""
        return partial_directory(self.run)

    def measure(self) -> dict[str, float]:
        """Compute the validation metrics of the model as it is."""
        self.model.eval()
        with torch.inference_mode(), autocast(self.device, self.precision):
            return self.validation(self.model)

    def train(self, *, resume: bool) -> FitState:
        """Run all phases; on Ctrl-C or SIGTERM save, then raise KeyboardInterrupt.

        Args:
            resume: go on from a saved state if there is one.
        """
        path = self.partial / RESUME
        saved = load_state(path, self.depends_on) if resume and path.exists() else None
        state = saved.state if saved else FitState()

        def save(state: FitState, model: nn.Module, optimiser: torch.optim.Optimizer) -> None:
            if distributed.is_first():
                save_state(path, self.depends_on, state, model, optimiser)

        with stop_on_interrupt() as stop:
            training = Training(
                rows=self.rows,
                loss=self.learner.loss,
                validate=self.validation,
                metric=self.validation.metric,
                quality=self.validation.quality,
                optim=self.optim,
                rng=self.rng,
                device=self.device,
                precision=self.precision,
                reporter=self.reporter,
                save=save,
                stop=stop,
            )
            for index, phase in enumerate(self.phases):
                if index < state.phase:
                    continue
                fit(self.model, phase, training, state, saved)
                if phase.close is not None:
                    phase.close(lambda: self.validation.quality(self.measure()))
                saved = None
                state.phase, state.epoch, state.step = index + 1, 0, 0
                if index + 1 < len(self.phases):
                    state.best_value, state.best_epoch, state.best = None, 0, {}
        return state


@dataclass(frozen=True, slots=True)
class Finished:
    """Facts of a finished training."""

    training: TrainingResult
    """Of the task that was learned last."""

    record: RunRecord

    epochs: int


def partial_directory(run: Path) -> Path:
    """Return where the state of an unfinished run is kept: beside the run."""
    return run.with_name(f"{run.name}.partial")


def claim_output(run: Path, *, overwrite: bool, resume: bool, inputs: Iterable[Path]) -> None:
    """Refuse an output that exists, or an unfinished run without `--resume` or `--overwrite`.

    A finished run is not taken where `resume` is given: it may be the very one that is asked for.

    Args:
        run: the run directory to be written.
        overwrite: whether a run that is there may be replaced.
        resume: whether an unfinished run goes on.
        inputs: what the command reads, and must not lose.
    """
    if overwrite or not (resume and (run / RUN_JSON).exists()):
        refuse_existing(run, overwrite=overwrite, marker=RUN_JSON, inputs=inputs)
    partial = partial_directory(run)
    if partial.exists() and not resume:
        if not overwrite:
            raise UsageError(
                f"{partial} holds an unfinished run",
                hint="go on with --resume, or start anew with --overwrite",
            )
        refuse_existing(partial, overwrite=True, marker=RESUME)
        distributed.barrier()  # until all have seen what is there
        if distributed.is_first():
            shutil.rmtree(partial)
    distributed.barrier()


def finished_before(
    run: Path, depends_on: Json, *, overwrite: bool, resume: bool, reporter: Reporter
) -> Finished | None:
    """Return the run that `--resume` finds finished; None where there is work to do.

    Raises:
        CheckpointError: it was made with other settings; it names them.
    """
    if overwrite or not resume or not (run / RUN_JSON).exists():
        return None
    header = read_header(run)
    refuse_other(run, header.identity(), depends_on)
    history = run / HISTORY
    epochs = pl.read_parquet(history).height if history.exists() else 0
    reporter.note(f"{run} was finished already")
    assert header.last.training is not None
    return Finished(header.last.training, read_record(run), epochs)


def release_output(run: Path) -> None:
    """Remove the state of a run that is finished."""
    shutil.rmtree(partial_directory(run), ignore_errors=True)


@contextmanager
def stop_on_interrupt() -> Iterator[Callable[[], bool]]:
    """Yield a question: was Ctrl-C pressed, or SIGTERM sent? A second time stops at once.

    Outside the main thread signals cannot be caught, and the answer stays no.

    Raises:
        Terminated: in place of KeyboardInterrupt, where SIGTERM was what came.
    """
    came: list[int] = []

    def note(signum: int, frame: FrameType | None) -> None:
        came.append(signum)
        if len(came) > 1:
            raise KeyboardInterrupt

    try:
        before = {number: signal.signal(number, note) for number in _STOPPING}
    except ValueError:
        yield lambda: False
        return
    try:
        yield lambda: bool(came)
    except KeyboardInterrupt as interrupt:
        if signal.SIGTERM in came:
            raise Terminated from interrupt
        raise
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
