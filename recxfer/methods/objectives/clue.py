"""Objective `clue`: bring two views of one user's whole history together.

Cheng et al., Learning Transferable User Representations with Sequential Behaviors via Contrastive
Pre-training (ICDM 2021). One encoder reads both views; behind it stand a projection of three layers
with BatchNorm, a predictor on one side and a stopped gradient on the other, both ways around: the
form of SimSiam (Chen and He 2021). The losses that it is usually compared with are settings.

Shape letters: B rows of a batch, A rows of all processes (those of the batch, where there is one).
"""

from functools import partial
from typing import ClassVar, Literal, final

import torch
from pydantic import Field, model_validator
from torch import Tensor
from typing_extensions import override

from recxfer.data.history import History
from recxfer.data.rows import Batch, Rows
from recxfer.data.view_choice import ViewConfig, Views
from recxfer.foundation.config import Config
from recxfer.foundation.distributed import gather
from recxfer.foundation.errors import ConfigError, DataError, UsageError
from recxfer.foundation.reporting import Reporter
from recxfer.foundation.rng import Rng
from recxfer.methods.contract import Objective, Pretraining, VectorLearner
from recxfer.methods.objectives.collapse import judge, measure_users
from recxfer.methods.objectives.next_item import next_item_loss
from recxfer.methods.supervised import TaskLearner
from recxfer.models.backbones.contract import Backbone
from recxfer.models.layers.dropout import Dropout
from recxfer.models.losses.contrast import barlow_twins_loss, cosine_loss, nt_xent_loss
from recxfer.models.losses.item_loss import ItemLoss, ItemLossConfig
from recxfer.models.readout import last_positions, mean_positions
from recxfer.models.scoring import Output
from recxfer.models.siamese import (
    Predictor,
    Projection,
    SiameseModel,
    Target,
    computed_again,
    encode_in_chunks,
)

SMALLEST_BATCH = 2
"""People of a step, at least: one has nobody to be compared with."""


class ClueConfig(ViewConfig):
    """Settings of the `clue` objective."""

    loss: Literal["simsiam", "nt-xent", "byol", "barlow-twins"] = "simsiam"
    """`simsiam`: predict the other view, whose gradient is stopped. `byol`: predict what a slow
    copy makes of it. `nt-xent`: find it among all views of the batch (SimCLR, InfoNCE).
    `barlow-twins`: channels of both views correlate one to one."""

    readout: Literal["last", "mean"] = "last"
    """The user vector: the hidden state at the last event, or the mean over all of them."""

    vector: Literal["encoder", "projection"] = "encoder"
    """What `export --what users` writes: vectors of the encoder, or what the projection makes of
    them. Transfers use the encoder either way."""

    projected: int | None = Field(default=None, ge=1)
    """Width of the projection; by default the backbone's."""

    predictor: bool = True
    """`simsiam`, `byol`: whether there is one. Without it they collapse."""

    stop_gradient: bool = True
    """`simsiam`: whether the gradient of the other view is stopped. If not, it collapses."""

    temperature: float = Field(default=0.2, gt=0, allow_inf_nan=False)
    """`nt-xent`: what cosines are divided by."""

    momentum: float = Field(default=0.99, ge=0, le=1)
    """`byol`: how much of the slow copy stays at each step."""

    off_diagonal: float = Field(default=0.005, ge=0, allow_inf_nan=False)
    """`barlow-twins`: weight of correlations between different channels."""

    next_item: float = Field(default=0.0, ge=0, allow_inf_nan=False)
    """Weight of the next-item loss beside this one; 0 learns nothing about single items."""

    item_loss: Literal["softmax", "sampled-softmax", "bce", "bpr"] = "softmax"
    """The loss over items where `next_item` is above 0, as in that objective."""

    negatives: int = Field(default=256, ge=1)
    """`item_loss=sampled-softmax`: negatives that all positions of a batch share."""

    chunk: int | None = Field(default=None, ge=1)
    """Histories whose activations are in memory at a time; by default those of the whole batch.
    The loss is that of the whole batch either way, at the price of encoding each view twice."""

    allow_collapse: bool = False
    """Go on when all users get the same vector; if not, that ends the run with exit code 5."""

    @model_validator(mode="after")
    def _parts_are_of_the_loss(self) -> "ClueConfig":
        if not self.stop_gradient and self.loss != "simsiam":
            raise ValueError(f"stop_gradient is for loss=simsiam, not for {self.loss}")
        if not self.predictor and self.loss not in ("simsiam", "byol"):
            raise ValueError(f"loss={self.loss} has no predictor to leave out")
        if self.next_item and self.vector == "projection":
            raise ValueError("with next_item the encoder's vectors score items: vector=encoder")
        return self


class ClueLearner(VectorLearner[SiameseModel]):
    """Learn to bring two views of a user together."""

    def __init__(self, config: ClueConfig) -> None:
        self._config = config
        self._views: Views | None = None
        self._item_loss: ItemLoss | None = None
        self._user_R = torch.zeros(0, dtype=torch.int64)
        self._warned = False

    @override
    def observe(self, model: SiameseModel, rows: Rows) -> None:
        """Count how often items occur, and which ones together.

        Raises:
            ConfigError: both views would always be the same.
            DataError: all histories are the same.
        """
        if set(self._config.views) == {"dropout"} and not _drops(model.backbone):
            raise ConfigError(
                "views=dropout on a backbone without dropout: both views would be the same",
                hint="set backbone.dropout above 0, or choose other views",
            )
        _refuse_alike(rows)
        backbone = model.backbone
        # Training rows have one event more than the backbone's longest history.
        longest = backbone.config.max_length + 1
        self._views = Views(self._config, rows, backbone.num_items, longest)
        self._user_R = rows.user_R
        self._item_loss = ItemLoss.of_rows(item_config(self._config), rows, backbone.num_items)

    @override
    def loss(self, model: SiameseModel, batch: Batch, rng: Rng) -> Tensor:
        """Contrast two views of each user; zero where there is nobody to compare with."""
        assert self._views is not None, "observe() comes before loss()"
        person_A = gather(self._user_R[batch.row_B.cpu()].to(batch.row_B.device))
        if person_A.numel() < SMALLEST_BATCH:
            return model.backbone.item_weight_VD[:1].sum() * 0
        generator = rng.generator("views")
        views = [self._views.draw(batch.history, generator) for _ in range(2)]
        total = self._contrast(model, views, person_A)
        if self._config.next_item:
            total = total + self._config.next_item * self._next_item(model, batch.history, rng)
        return total

    @override
    def represent(self, model: SiameseModel, batch: Batch) -> Tensor:
        """Read what scores items, with `next_item`; else the user vector."""
        if self._config.next_item:
            return last_positions(model.backbone(batch.history), batch.history.length_B)
        return self._read(model, self._encode(model.backbone, batch.history))

    @override
    def output(self, model: SiameseModel) -> Output:
        """Return the item table, where next items were learned."""
        if not self._config.next_item:
            raise UsageError(
                "a run of clue alone has no item output: it has learned nothing about single items",
                hint="transfer it to a task, export its users, or pretrain with --set next_item=1",
            )
        return model.output()

    def measure(self, model: SiameseModel, users: Rows, reporter: Reporter) -> dict[str, float]:
        """Measure recognition, and whether vectors have collapsed.

        Raises:
            DivergedError: they have.
        """
        assert model.projection is not None
        figures = measure_users(
            partial(self._encode, model.backbone),
            model.projection,
            users,
            model.backbone.item_table.special_vectors().device,
            lambda vector_BD: self._read(model, vector_BD),
        )
        warning = judge(figures, allow=self._config.allow_collapse)
        if warning is not None and not self._warned:
            self._warned = True
            reporter.warn(warning)
        return figures

    def _encode(self, backbone: Backbone, history: History) -> Tensor:
        read = mean_positions if self._config.readout == "mean" else last_positions
        return read(backbone(history), history.length_B)

    def _read(self, model: SiameseModel, vector_BD: Tensor) -> Tensor:
        """Encode histories, projected or not."""
        if self._config.vector == "encoder":
            return vector_BD
        assert model.projection is not None
        with _full_precision(vector_BD):
            projected_BP: Tensor = model.projection(vector_BD.float())
            return projected_BP

    def _contrast(self, model: SiameseModel, views: list[History], person_A: Tensor) -> Tensor:
        """Compute the loss of two views of every row, of all processes if there are several.

        Only the encoder goes by chunks, and by processes: statistics over the batch are those of
        all rows.
        """
        assert model.projection is not None
        encode = partial(self._encode, model.backbone)
        one_AD, other_AD = (
            gather(encode_in_chunks(encode, view, self._config.chunk).float()) for view in views
        )
        with _full_precision(one_AD):
            one_AP, other_AP = model.projection(one_AD), model.projection(other_AD)
            if self._config.loss == "nt-xent":
                return nt_xent_loss(one_AP, other_AP, person_A, self._config.temperature)
            if self._config.loss == "barlow-twins":
                return barlow_twins_loss(one_AP, other_AP, self._config.off_diagonal)
        if model.target is not None:
            targets = self._slow(model, model.target, views)
        elif self._config.stop_gradient:
            targets = [one_AP.detach(), other_AP.detach()]
        else:
            targets = [one_AP, other_AP]
        with _full_precision(one_AD):
            if model.predictor is not None:
                one_AP, other_AP = model.predictor(one_AP), model.predictor(other_AP)
            return (cosine_loss(one_AP, targets[1]) + cosine_loss(other_AP, targets[0])) / 2

    @torch.no_grad()
    def _slow(self, model: SiameseModel, target: Target, views: list[History]) -> list[Tensor]:
        """Encode both views by the slow copy, after it has followed the last step."""
        assert model.projection is not None
        target.follow(model.backbone, model.projection, self._config.momentum)
        projected = []
        for view in views:
            parts = view.split(self._config.chunk or view.length_B.numel())
            vector_BD = torch.cat([self._encode(target.backbone, part).float() for part in parts])
            with _full_precision(vector_BD):
                projected.append(target.projection(gather(vector_BD)))
        return projected

    def _next_item(self, model: SiameseModel, history: History, rng: Rng) -> Tensor:
        """Compute the next-item loss of the histories as they are, by chunks like the encoder."""
        assert self._item_loss is not None
        item_loss = self._item_loss
        total = torch.zeros((), device=history.length_B.device)
        for index, part in enumerate(history.split(self._config.chunk or history.length_B.numel())):
            part_loss = partial(
                next_item_loss, model, item_loss, rng=Rng(rng.derive("chunk", index))
            )
            if self._config.chunk is None:
                return part_loss(part)
            total = total + computed_again(part_loss, part) * (part.length_B - 1).sum()
        return total / (history.length_B - 1).sum()


@final
class Clue(Objective[ClueConfig]):
    """Whole histories against whole histories."""

    config_type: ClassVar[type[Config]] = ClueConfig
    causal: ClassVar[bool] = True
    smallest_batch: ClassVar[int] = SMALLEST_BATCH

    @override
    def build(self, backbone: Backbone, rng: Rng) -> Pretraining[SiameseModel]:
        """Put projection, predictor and slow copy behind the backbone, as the loss needs them."""
        rng.seed_all("head")
        projection = Projection(backbone.width, self.config.projected or backbone.width)
        predicts = self.config.predictor and self.config.loss in ("simsiam", "byol")
        model = SiameseModel(
            backbone,
            projection,
            Predictor(projection.width) if predicts else None,
            Target(backbone, projection) if self.config.loss == "byol" else None,
        )
        learner = ClueLearner(self.config)

        def discard() -> None:
            """Leave the encoder, and the projection where that makes the vectors."""
            model.predictor = model.target = None
            if self.config.vector == "encoder":
                model.projection = None

        return Pretraining(
            model=model, learner=learner, measure=partial(learner.measure, model), discard=discard
        )

    @override
    def item_learner(self) -> TaskLearner | None:
        """Return the learner of next items, where they are learned too."""
        return TaskLearner(item_config(self.config)) if self.config.next_item else None


def item_config(config: ClueConfig) -> ItemLossConfig:
    """Return the settings of the loss over items beside the contrastive one."""
    return ItemLossConfig(loss=config.item_loss, negatives=config.negatives)


def _drops(backbone: Backbone) -> bool:
    return any(isinstance(module, Dropout) and module.rate > 0 for module in backbone.modules())


def _full_precision(vector_BD: Tensor) -> torch.autocast:
    """Statistics over a batch, and cosines close to one, are float32."""
    return torch.autocast(vector_BD.device.type, enabled=False)


def _refuse_alike(rows: Rows) -> None:
    """Refuse histories that are all the same.

    Raises:
        DataError: they are, or there is one alone.
    """
    if not bool((rows.length_R == rows.length_R[:1]).all()):
        return
    for place in range(int(rows.length_R[0])):
        item_R = rows.item_E[rows.start_R + place]
        if bool((item_R != item_R[0]).any()):
            return
    raise DataError(
        f"all {len(rows):,} training histories are the same: nothing tells people apart",
        hint="prepare a dataset with different people, or choose another objective",
    )
