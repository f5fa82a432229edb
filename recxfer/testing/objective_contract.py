"""Contract tests of pretraining objectives, which pretrain with each in the planted world."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import polars as pl
import torch
from typing_extensions import override

from recxfer.commands import pretrain
from recxfer.commands.pretrain_config import PretrainResult
from recxfer.data.dataset import Dataset
from recxfer.data.examples import next_item_training
from recxfer.data.rows import Rows
from recxfer.foundation import tensors
from recxfer.foundation.config import Settings
from recxfer.foundation.errors import UsageError
from recxfer.foundation.names import CHECKPOINT, HISTORY
from recxfer.foundation.reporting import SilentReporter
from recxfer.foundation.rng import Rng
from recxfer.methods import OBJECTIVES
from recxfer.methods.contract import Objective, Pretraining, VectorLearner
from recxfer.models import BACKBONES
from recxfer.runs.checkpoint import build_objective
from recxfer.runs.item_content import build_item_encoders, read_items_of
from recxfer.runs.open import open_base, open_run
from recxfer.runs.transfer_task import NO_BASE
from recxfer.testing.commands import exported, pretrained, transferred
from recxfer.testing.settings_contract import SettingsContract
from recxfer.testing.world import SMALL, shared_world

_CPU = torch.device("cpu")


class ObjectiveContract(SettingsContract):
    """Contract tests of an objective; a subclass says its name."""

    objective: ClassVar[str]
    """Name in OBJECTIVES: of a table line, or of an entry point that is installed."""

    backbone: ClassVar[str] = "sasrec"
    """One that looks to both sides, where the objective does; others in subclasses of their own."""

    settings: ClassVar[Sequence[str]] = ()
    """What keeps its own layers small, as `--set` takes it."""

    def test_training_lowers_the_loss_and_chooses_an_epoch(self, tmp_path: Path) -> None:
        """By ranking, or by the figure `recognition` of what it measures itself."""
        result = self._learn(tmp_path / "run", epochs=5)
        history = pl.read_parquet(result.path / HISTORY)
        assert history["loss"].is_finite().all()
        assert history["loss"][-1] < history["loss"][0]
        metric = "NDCG@10" if "NDCG@10" in history.columns else "recognition"
        assert result.validation[metric] == history[metric].max()
        best = history[metric].arg_max()
        assert best is not None
        assert history["epoch"][best] == result.best_epoch

    def test_held_out_items_are_ranked_far_above_popularity(self, tmp_path: Path) -> None:
        """The next film is the one after the last: whoever looks at what is asked learns nothing.

        An objective that learns nothing about items is not asked.
        """
        if self._type(self._type.config_type()).item_learner() is None:
            return
        films = shared_world().films
        learned = self._learn(tmp_path / "run", epochs=20).validation["NDCG@10"]
        popular = transferred(NO_BASE, films, tmp_path / "popular", "popular")
        assert learned > popular.validation["NDCG@10"] + 0.1

    def test_a_run_opens_as_what_was_trained(self, tmp_path: Path) -> None:
        """To score with, and as a base."""
        result = self._learn(tmp_path / "run")
        run = open_run(result.path, _CPU)
        assert sum(p.numel() for p in run.model.parameters()) == result.parameters
        opened = open_base(result.path, Rng(0))
        assert opened.header.objective is not None
        assert opened.header.objective.name == opened.base.objective == self.objective
        trained = run.model.get_submodule("backbone").state_dict()
        for name, parameter in opened.base.backbone.state_dict().items():
            assert torch.equal(parameter, trained[name])

    def test_user_vectors_ignore_padding_and_the_rest_of_the_batch(self, tmp_path: Path) -> None:
        """A user alone has the vector that they have among others."""
        run = open_run(self._learn(tmp_path / "run", epochs=1).path, _CPU)
        rows = run.rows("all")
        run.read_items_of(run.target)
        learner = _of_vectors(run.learner)
        together = learner.represent(run.model, rows.batch(torch.arange(8)))
        for row in range(8):
            alone = learner.represent(run.model, rows.batch(torch.tensor([row])))
            torch.testing.assert_close(alone[0], together[row], atol=1e-5, rtol=1e-4)

    def test_the_same_seed_gives_the_same_bytes(self, tmp_path: Path) -> None:
        """And another seed others."""
        one, two, other = (
            (self._learn(tmp_path / name, seed=seed).path / CHECKPOINT).read_bytes()
            for name, seed in (("one", 0), ("two", 0), ("other", 1))
        )
        assert one == two
        assert one != other

    def test_users_are_exported_and_ranked_or_the_reason_is_told(self, tmp_path: Path) -> None:
        """An objective that learns nothing about items has no output layer over them."""
        films = shared_world().films
        run = self._learn(tmp_path / "run", epochs=1).path
        assert exported(run, tmp_path / "users.parquet").rows == Dataset(films).num_users
        opened = open_run(run, _CPU)
        opened.read_items_of(opened.target)
        learner = _of_vectors(opened.learner)
        assert opened.header.objective is not None
        try:
            outputs = learner.output(opened.model).weight_VD.shape[0]
        except UsageError as error:
            assert build_objective(opened.header.objective).item_learner() is None
            assert "no item output" in str(error)
        else:
            assert build_objective(opened.header.objective).item_learner() is not None
            assert outputs == opened.target.num_items

    def test_the_smallest_batch_is_enough(self) -> None:
        """And one row alone gives a loss, as the last batch of an epoch may be."""
        built, rows = self._built()
        for size in (1, self._type.smallest_batch):
            loss = built.learner.loss(built.model, rows.batch(torch.arange(size)), Rng(0))
            loss.backward()
            assert loss.isfinite()

    def test_a_batch_smaller_than_the_smallest_is_refused(self, tmp_path: Path) -> None:
        """Before anything is read."""
        smallest = self._type.smallest_batch
        if smallest == 1:
            return
        try:
            pretrain.resolve(
                shared_world().films,
                tmp_path / "run",
                settings=Settings.read(),
                objective=self.objective,
                batch_size=smallest - 1,
            )
        except UsageError as error:
            assert "batch" in str(error)
        else:
            raise AssertionError(f"a batch of {smallest - 1} was taken")

    def test_what_is_kept_can_be_built_again(self) -> None:
        """A checkpoint holds the same tensors whatever was trained on."""
        (kept, _), (again, _) = self._built(), self._built()
        for built in (kept, again):
            built.discard()
        assert again.model.state_dict().keys() == kept.model.state_dict().keys()

    def test_checkpoints_hold_the_backbone_under_its_own_name(self, tmp_path: Path) -> None:
        """With the table of items, or what makes item vectors of content."""
        run = self._learn(tmp_path / "run", epochs=1).path
        names = set(tensors.load(run / CHECKPOINT)[0])
        by_content = self._type(self._type.config_type()).content is not None
        assert ("backbone.item_table.weight" in names) != by_content
        assert any(name.startswith("backbone.item_table.") for name in names)

    @property
    @override
    def _type(self) -> type[Objective[Any]]:
        return OBJECTIVES.resolve(self.objective)

    def _learn(self, run: Path, *, epochs: int = 2, seed: int = 0) -> PretrainResult:
        return pretrained(
            shared_world().films,
            run,
            *SMALL,
            "backbone.dropout=0.1",
            *self.settings,
            backbone=self.backbone,
            objective=self.objective,
            epochs=epochs,
            seed=seed,
        )

    def _built(self) -> tuple[Pretraining[Any], Rows]:
        """Build what is trained, with default settings on a small backbone, and its rows."""
        dataset = Dataset(shared_world().films)
        objective = self._type(self._type.config_type())
        backbone_type = BACKBONES.resolve(self.backbone)
        torch.manual_seed(0)
        config = backbone_type.config_type(width=16, max_length=20)
        backbone = backbone_type(config, dataset.num_items, causal=objective.causal)
        if objective.content is not None:
            build_item_encoders(backbone, objective.content, dataset, Rng(0))
        built = objective.build(backbone, Rng(0))
        built.model.train()
        read_items_of(built.model, dataset, SilentReporter())
        rows = next_item_training(dataset, 20)
        built.learner.observe(built.model, rows)
        return built, rows


def _of_vectors(learner: object) -> VectorLearner[Any]:
    assert isinstance(learner, VectorLearner), "pretrained runs score by vectors"
    return learner
