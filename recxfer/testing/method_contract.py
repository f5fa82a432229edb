"""Contract tests of transfer methods, which train each in the planted world."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar
from unittest import SkipTest

import torch
from torch import nn
from typing_extensions import override

from recxfer.commands.transfer_config import TransferResult
from recxfer.evaluation.ranking import class_scores, rank
from recxfer.foundation import tensors
from recxfer.foundation.names import CHECKPOINT, RUN_JSON
from recxfer.foundation.rng import Rng
from recxfer.methods import METHODS
from recxfer.methods.contract import AnyMethod, trained_names
from recxfer.models.user_model import UserModel
from recxfer.runs.open import open_base, open_run
from recxfer.runs.sizes import size_of
from recxfer.testing.commands import transferred
from recxfer.testing.settings_contract import SettingsContract
from recxfer.testing.world import BOOKS, World, shared_world

_CPU = torch.device("cpu")


class MethodContract(SettingsContract):
    """Contract tests of a transfer method; a subclass says its name.

    Tests of tasks or kinds of methods that this one is not for are skipped.
    """

    method: ClassVar[str]
    """Name in METHODS: of a table line, or of an entry point that is installed."""

    backbone: ClassVar[str] = "sasrec"
    """The base's; another one, and another objective, in a subclass of its own."""

    objective: ClassVar[str] = "next-item"

    personal: ClassVar[bool] = True
    """Whether what it predicts depends on the history, so that it can learn what is planted."""

    def test_profiles_are_learned_and_restored(self, tmp_path: Path) -> None:
        """Taste is the parity of any film: with a dozen test people, one may be missed."""
        self._needs_task("profile")
        result = self._adapt(tmp_path / "run", "profile:taste", epochs=30)
        assert (result.trained_parameters == 0) == (self._type.needs.base == "none")
        run = open_run(result.path, _CPU)
        rows = run.rows("test")
        assert rows.target_R is not None
        right = class_scores(run.learner, run.model, rows, _CPU).argmax(1).eq(rows.target_R)
        assert not self.personal or float(right.double().mean()) >= 0.9

    def test_cross_domain_ranks_the_right_parity_first(self, tmp_path: Path) -> None:
        """Half of the books have the reader's parity; without taste, half of them rank there."""
        self._needs_task("cross-domain")
        result = self._adapt(tmp_path / "run", "cross-domain", epochs=15)
        assert not self._type.parameter_efficient or result.trained_share < 0.5
        run = open_run(result.path, _CPU)
        assert run.source is not None
        assert run.source.path.resolve() == self._world.films.resolve()
        ranking = rank(run.learner, run.model, run.rows("test"), device=_CPU)
        right = float((ranking.rank_R <= BOOKS // 2).double().mean())
        assert right > 0.9 if self.personal else right < 0.8

    def test_next_item_in_a_domain_with_other_items(self, tmp_path: Path) -> None:
        """The run scores the target's items."""
        self._needs_task("next-item")
        result = self._adapt(tmp_path / "run", "next-item", dataset=self._world.books, epochs=2)
        run = open_run(result.path, _CPU)
        run.read_items_of(run.target)
        assert run.learner.num_outputs(run.model) == run.target.num_items

    def test_frozen_is_frozen_to_the_bit_and_trainable_moves(self, tmp_path: Path) -> None:
        """Weight decay on: what is frozen must not shrink either."""
        if self._type.needs.first_task:
            raise SkipTest("it first learns the base's own task: its runs hold several")
        settings = ["optim.weight_decay=0.1"]
        result = self._adapt(tmp_path / "run", self._task, settings=settings, epochs=2)
        run = open_run(result.path, _CPU)
        base = open_base(self._base, Rng(0)).base
        start = self._type(self._type.config_type()).adapt(base, run.task, Rng(0))
        moving = trained_names(start.phases)
        before, after = dict(start.model.named_parameters()), dict(run.model.named_parameters())
        assert before.keys() == after.keys()
        for name, parameter in before.items():
            if name not in moving:
                assert torch.equal(parameter, after[name]), f"{name} is frozen, but moved"
        moved = [name for name, p in before.items() if not torch.equal(p, after[name])]
        # The embedding of an item that no training user met gets no gradient; whole tensors do.
        assert len(moved) >= len(moving) * 0.5
        parts, _ = tensors.load(result.path / CHECKPOINT)
        stored = {re.sub(r"^tasks\.\d+\.", "", name) for name in parts}
        assert set(moved) <= stored

    def test_the_same_seed_gives_the_same_bytes(self, tmp_path: Path) -> None:
        """And another seed others."""
        one, two, other = (
            (
                self._adapt(tmp_path / name, self._task, epochs=2, seed=seed).path / CHECKPOINT
            ).read_bytes()
            for name, seed in (("one", 0), ("two", 0), ("other", 1))
        )
        assert one == two
        assert one != other

    def test_a_run_that_holds_all_opens_without_its_base(self, tmp_path: Path) -> None:
        """Of methods that begin with nothing of the base's, or go on keeping its tasks.

        A delta needs the base; every other run is whole.
        """
        needs = self._type.needs
        result = self._adapt(tmp_path / "run", self._task, epochs=1)
        if tensors.read_header(result.path / CHECKPOINT)["kind"] == "delta":
            assert needs.base == "pretrained", "nothing of the base is in what it learns"
            assert needs.continues == "refused", "what goes on keeping tasks holds all of them"
            raise SkipTest("its runs are deltas")
        record = result.path / RUN_JSON
        record.write_text(record.read_text().replace(self._base.name, "gone"))
        assert open_run(result.path, _CPU).method == self.method

    def test_a_delta_is_small(self, tmp_path: Path) -> None:
        """It holds no table of items, and less than half of what the base holds."""
        self._needs_efficiency()
        result = self._adapt(tmp_path / "run", "profile:taste", epochs=1)
        parts, header = tensors.load(result.path / CHECKPOINT)
        assert header["kind"] == "delta"
        assert not any("item_table" in name for name in parts)
        model, _ = tensors.load(self._base / CHECKPOINT)
        whole = sum(p.numel() for p in model.values())
        assert sum(p.numel() for p in parts.values()) < 0.5 * whole

    def test_a_delta_of_default_settings_is_under_15_percent(self, tmp_path: Path) -> None:
        """Of the backbone's bytes; tables of items are left out, those of the target too."""
        self._needs_efficiency()
        base = self._world.usual_base(self.backbone)
        for task in ("profile:taste", "cross-domain"):
            if task.partition(":")[0] in self._type.needs.tasks:
                result = self._adapt(tmp_path / task[:5], task, base=base, epochs=1)
                run = open_run(result.path, _CPU)
                share = size_of(run).backbone_share
                assert share is not None
                assert share < 0.15  # nothing, where a new output layer over items is all
                # What `transfer` prints leaves out the tokens, and the head of two classes, too.
                assert run.record.counts is not None
                outside = _outside_of_body(run.model, head=not run.task.ranks_items)
                told = result.trained_share + outside / run.record.counts.body
                assert abs(share - told) < 1e-9

    @property
    @override
    def _type(self) -> type[AnyMethod]:
        return METHODS.resolve(self.method)

    @property
    def _world(self) -> World:
        return shared_world()

    @property
    def _base(self) -> Path:
        if self._type.needs.items == "content":
            return self._world.content_base
        return self._world.base(self.backbone, self.objective)

    @property
    def _task(self) -> str:
        """A task on `films` that the method knows."""
        return "profile:taste" if "profile" in self._type.needs.tasks else "next-item"

    def _needs_task(self, kind: str) -> None:
        if kind not in self._type.needs.tasks:
            raise SkipTest(f"it learns no {kind} tasks")

    def _needs_efficiency(self) -> None:
        if not self._type.parameter_efficient:
            raise SkipTest("it does not promise to be parameter-efficient")

    def _adapt(
        self,
        run: Path,
        task: str,
        *,
        base: Path | None = None,
        dataset: Path | None = None,
        settings: Sequence[str] = (),
        epochs: int,
        seed: int = 0,
    ) -> TransferResult:
        at = self._world.books if task == "cross-domain" else self._world.films
        return transferred(
            base or self._base,
            dataset or at,
            run,
            self.method,
            task,
            *settings,
            epochs=epochs,
            seed=seed,
        )


def _outside_of_body(model: nn.Module, *, head: bool) -> int:
    """Numbers in the tokens of a user model and, if asked for, in its head."""
    users = [module for module in model.modules() if isinstance(module, UserModel)]
    owners = [part for user in users for part in (user.tokens, user.head if head else None)]
    return sum(p.numel() for owner in owners if owner is not None for p in owner.parameters())
