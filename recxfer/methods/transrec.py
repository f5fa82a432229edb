"""Objective and method `transrec`: items known by their text and images, users by their items.

Fu, Yuan, Wang et al., TransRec: Learning Transferable Recommendation from Mixture-of-Modality
Feedback (2022, arXiv 2206.06190). One model for domains that share neither users nor items: the
item encoders stand where other backbones have a table, and train end to end with the user encoder.

Where we differ from the release: the loss is a softmax among the items of the batch at every
position of a causal user encoder. The release's own (binary, the next five clicks against five
drawn negatives, read at the last event of an encoder that sees both sides) is a setting, and its
negatives leave out what a user met in training, not what is held out.
"""

from typing import ClassVar, Literal, final

import torch
from pydantic import Field, model_validator
from torch import Tensor
from torch.nn import functional as F
from typing_extensions import override

from recxfer.data.rows import Batch, Rows
from recxfer.foundation import distributed
from recxfer.foundation.config import Config
from recxfer.foundation.errors import ConfigError
from recxfer.foundation.rng import Rng
from recxfer.methods.content_method import (
    CONTENT_NEEDS,
    new_user_encoder,
    user_parameters,
)
from recxfer.methods.contract import (
    Adapted,
    Base,
    Method,
    Needs,
    Objective,
    Pretraining,
    VectorLearner,
)
from recxfer.methods.supervised import in_one_phase
from recxfer.methods.task import Task
from recxfer.models.backbones.contract import Backbone
from recxfer.models.content.attach import content_table, freeze_encoders
from recxfer.models.content.config import ContentConfig
from recxfer.models.heads import NextItemModel
from recxfer.models.losses.content_loss import (
    NEVER,
    Met,
    in_batch_loss,
    log_presence,
    next_clicks_loss,
)
from recxfer.models.losses.item_loss import count_outputs
from recxfer.models.readout import last_positions
from recxfer.models.scoring import Output
from recxfer.models.user_model import UserModel

ContentModel = NextItemModel | UserModel
"""A model whose backbone reads items as content; its output layer is their vectors."""


class ContentLossConfig(Config):
    """Settings of the loss over items known by content."""

    loss: Literal["auto", "in-batch", "cpc-bce"] = "auto"
    """`in-batch`: at every position, a softmax among the distinct items of the batch. `cpc-bce`:
    read once, before the last clicks, each of which is told from drawn negatives (release).
    `auto`: `in-batch`, where the user encoder is causal."""

    false_negatives: Literal["past", "met", "none"] = "past"
    """`in-batch`: which items are left out of a position's softmax. `past`: what the person met
    before it, which ranking leaves out too. `met`: what they meet after it in training, too.
    `none`: nothing."""

    log_q: bool = True
    """`in-batch`: whether scores are corrected by how probable an item is to be in the batch."""

    future: int = Field(default=5, ge=1)
    """`cpc-bce`: clicks to predict, of a shorter history all but the first."""

    negatives: int = Field(default=5, ge=1)
    """`cpc-bce`: items drawn for each history, uniformly from those not met in training."""


class ContentLearner(VectorLearner[ContentModel]):
    """Learner of models that read items as content."""

    def __init__(self, config: ContentLossConfig, temperature: float | None = None) -> None:
        """Learn from dot products, or from cosines.

        Args:
            config: the loss.
            temperature: scores are cosines divided by it; None: scores are dot products.
        """
        self._config = config
        self._temperature = temperature
        self._met: Met | None = None
        self._user_R = self._start_R = torch.zeros(0, dtype=torch.int64)
        self._count_V1 = torch.zeros(0, dtype=torch.int64)

    @override
    def observe(self, model: ContentModel, rows: Rows) -> None:
        """Count how often items occur, and note who met them."""
        num_items = model.backbone.num_items
        self._met = Met(rows, num_items)
        self._user_R, self._start_R = rows.user_R, rows.start_R
        count_V = count_outputs(rows, num_items)
        self._count_V1 = torch.cat([count_V.new_zeros(1), count_V])

    @override
    def loss(self, model: ContentModel, batch: Batch, rng: Rng) -> Tensor:
        """Compute the loss; each distinct item of the batch is encoded once."""
        in_batch = self._config.loss == "in-batch"
        if self._config.loss == "auto":
            in_batch = model.backbone.causal
        loss = self._in_batch(model, batch) if in_batch else self._next_clicks(model, batch, rng)
        # A batch without a single image gives the encoder of images no gradient.
        return distributed.with_zero_gradients(loss, list(model.parameters()))

    @override
    def represent(self, model: ContentModel, batch: Batch) -> Tensor:
        """Read the hidden state at the last event."""
        backbone = model.backbone
        if not (model.training or torch.is_grad_enabled()):
            # Scoring makes the vectors of all items anyway, and keeps them.
            hidden_BLD = backbone(batch.history, content_table(backbone).kept)
        else:
            hidden_BLD = backbone(batch.history)
        return self._of_users(last_positions(hidden_BLD, batch.history.length_B))

    @override
    def output(self, model: ContentModel) -> Output:
        """Return the vectors of all items that are attached."""
        return Output(self._of_items(model.output().weight_VD))

    def _in_batch(self, model: ContentModel, batch: Batch) -> Tensor:
        backbone, history, device = model.backbone, batch.history, batch.row_B.device
        table = content_table(backbone).of(history.item_BL)
        before, next_BL = history.without_last(), history.item_BL[:, 1:]
        hidden_BLD = backbone(before, table)
        real_BL = before.real_BL
        log_q_U = torch.zeros(table.item_U.numel(), device=device)
        if self._config.log_q:
            count_U = self._count_V1[table.item_U.cpu()].clamp(min=1)
            total, events = int(self._count_V1.sum()), int(history.length_B.sum())
            log_q_U = log_presence(count_U, total, events).to(device)
        row_P, step_P = real_BL.nonzero().unbind(1)
        at_P = self._start_R[batch.row_B.cpu()].to(device)[row_P] + step_P
        return in_batch_loss(
            self._of_users(hidden_BLD[real_BL]),
            self._of_items(table.vector_UD),
            table.index(next_BL[real_BL]),
            row_P,
            at_P,
            self._false_since(batch, table.item_U),
            log_q_U,
        )

    def _false_since(self, batch: Batch, item_U: Tensor) -> Tensor:
        """Find since when each item is no negative for each row, in numbers of events (B, U)."""
        if self._config.false_negatives == "none":
            return item_U.new_full((batch.row_B.numel(), item_U.numel()), NEVER)
        user_B = self._user_R[batch.row_B.cpu()].to(item_U.device)
        since_BU = self._known.since(user_B, item_U)
        if self._config.false_negatives == "met":
            since_BU = since_BU.where(since_BU == NEVER, -1)
        return since_BU

    def _next_clicks(self, model: ContentModel, batch: Batch, rng: Rng) -> Tensor:
        met, backbone, history = self._known, model.backbone, batch.history
        item_BL = history.item_BL
        future_B = (history.length_B - 1).clamp(min=0, max=self._config.future)
        length_B = history.length_B - future_B
        step_K = torch.arange(self._config.future, device=item_BL.device)
        real_BK = step_K < future_B[:, None]
        at_BK = (length_B[:, None] + step_K).clamp(max=item_BL.shape[1] - 1)
        click_BK = item_BL.gather(1, at_BK).where(real_BK, 0)
        generator = rng.generator("negatives")
        user_B = self._user_R[batch.row_B.cpu()]
        other_BN = met.draw_others(user_B, self._config.negatives, generator).to(item_BL.device)
        past = history.first(length_B)
        table = content_table(backbone).of(past.item_BL, click_BK, other_BN)
        user_BD = last_positions(backbone(past, table), length_B)
        click_BKD, other_BND = self._of_items(table(click_BK)), self._of_items(table(other_BN))
        return next_clicks_loss(self._of_users(user_BD), click_BKD, real_BK, other_BND)

    def _of_users(self, hidden_XD: Tensor) -> Tensor:
        """Scale hidden states as scores take them."""
        if self._temperature is None:
            return hidden_XD
        return F.normalize(hidden_XD.float(), dim=-1) / self._temperature

    def _of_items(self, vector_XD: Tensor) -> Tensor:
        """Scale vectors of items as scores take them; histories read those of the table."""
        if self._temperature is None:
            return vector_XD
        return F.normalize(vector_XD.float(), dim=-1)

    @property
    def _known(self) -> Met:
        assert self._met is not None, "observe() comes before loss()"
        return self._met


class TransRecConfig(ContentConfig, ContentLossConfig):
    """Settings of the `transrec` objective: how items are read, and how users are learned."""

    readout: Literal["causal", "last-valid"] = "causal"
    """`causal`: a user encoder that looks only to the left, so that every position can be learned
    from. `last-valid`: one that sees both sides, read at the last event (release)."""

    @model_validator(mode="after")
    def _the_future_is_not_seen(self) -> "TransRecConfig":
        if self.readout == "last-valid" and self.loss == "in-batch":
            raise ValueError(_BOTH_SIDES)
        return self


@final
class TransRec(Objective[TransRecConfig]):
    """Item encoders and user encoder together."""

    config_type: ClassVar[type[Config]] = TransRecConfig
    smallest_batch: ClassVar[int] = 2

    @property
    @override
    def causal(self) -> bool:
        """Whether the user encoder looks only to the left."""
        return self.config.readout == "causal"

    @property
    @override
    def content(self) -> ContentConfig:
        """The item encoders."""
        return self.config

    @override
    def build(self, backbone: Backbone, rng: Rng) -> Pretraining[NextItemModel]:
        """Build nothing but item encoders and user encoder."""
        return Pretraining(model=NextItemModel(backbone, tied=True), learner=self.item_learner())

    @override
    def item_learner(self) -> ContentLearner:
        """Return the learner of items by their content."""
        return ContentLearner(self.config)


class TransRecTransferConfig(ContentLossConfig):
    """Settings of the `transrec` method."""

    encoders: Literal["train", "frozen"] = "train"
    """`train`: the layers of the item encoders that trained with the base go on. `frozen`: none do,
    and their features are computed once and kept under `features/` of the dataset. The projections
    behind them go on either way."""

    user_encoder: Literal["pretrained", "new"] = "pretrained"
    """Where the user encoder begins: where pretraining left it, or at random weights."""


@final
class TransRecTransfer(Method[TransRecTransferConfig]):
    """Train the whole base, end to end, with the items of another domain."""

    config_type: ClassVar[type[Config]] = TransRecTransferConfig
    needs: ClassVar[Needs] = CONTENT_NEEDS

    @override
    def adapt(self, base: Base, task: Task, rng: Rng) -> Adapted:
        """Train the whole base; nothing in it knows an item by its number.

        Raises:
            ConfigError: the loss would show the user encoder what it is to predict.
        """
        backbone = base.backbone
        refuse_both_sides(self.config, backbone)
        table = content_table(backbone)
        if self.config.user_encoder == "new":
            backbone = new_user_encoder(backbone, rng)
        if self.config.encoders == "frozen":
            freeze_encoders(table)
        model = UserModel(backbone, None, "last", classifies=False)
        of_items = [*table.encoder_parameters(), *table.projection_parameters()]
        trained = [*of_items, *user_parameters(backbone)]
        return in_one_phase("transrec", model, trained, ContentLearner(self.config))


_BOTH_SIDES = (
    "in-batch learns from every position, and a user encoder that sees both sides is shown what "
    "comes next; cpc-bce is read before it"
)


def refuse_both_sides(config: ContentLossConfig, backbone: Backbone) -> None:
    """Refuse a loss that would show the user encoder what it is to predict.

    Raises:
        ConfigError: saying which fits.
    """
    if config.loss == "in-batch" and not backbone.causal:
        raise ConfigError(
            f"method.loss: {_BOTH_SIDES}",
            hint="leave the loss to auto, or pretrain with readout=causal",
        )
