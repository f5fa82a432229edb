"""Choose and draw views of histories by the settings: which, and how strong."""

from typing import Annotated, Any, Literal

import torch
from pydantic import BeforeValidator, Field
from torch import Tensor

from recxfer.data import views
from recxfer.data.history import History, joined
from recxfer.data.rows import Rows
from recxfer.data.similarity import similar_items
from recxfer.foundation.config import Config
from recxfer.foundation.names import MASK

ViewName = Literal["dropout", "crop", "mask", "reorder", "substitute", "insert"]

SIMILAR = frozenset({"substitute", "insert"})
"""Views that draw similar items."""


def _names(value: Any) -> Any:
    """Read `crop`, `crop,mask` and `[crop,mask]` as lists, as a shell types them."""
    if not isinstance(value, str):
        return value
    text = value.strip().removeprefix("[").removesuffix("]")
    return [name.strip().strip("\"'") for name in text.split(",") if name.strip()]


class ViewConfig(Config):
    """Settings of views: which, and how strong."""

    views: Annotated[tuple[ViewName, ...], BeforeValidator(_names)] = Field(
        default=("dropout",), min_length=1
    )
    """`dropout`: the history as it is; the backbone's dropout makes the difference (implicit).
    `crop`, `mask`, `reorder`, `substitute`, `insert` change the history (explicit)."""

    mix: Literal["choose", "compose"] = "choose"
    """Of several views: each history is drawn one, or goes through all of them in their order."""

    crop_keep: float = Field(default=0.6, gt=0, le=1)
    """`crop`: share of the events that is kept, rounded down, one event at least."""

    mask_share: float = Field(default=0.3, ge=0, lt=1)
    """`mask`: share of the events that is hidden, rounded up, but never all of them."""

    reorder_share: float = Field(default=0.3, ge=0, le=1)
    """`reorder`: share of the events that is shuffled, rounded up, two at least."""

    substitute_share: float = Field(default=0.2, ge=0, lt=1)
    """`substitute`: share of the events that is replaced, rounded up, but never all of them."""

    insert_share: float = Field(default=0.2, ge=0, le=1)
    """`insert`: share of the events behind which a similar item is put, rounded up."""


class Views:
    """Draw views of batches by the settings."""

    def __init__(self, config: ViewConfig, rows: Rows, num_items: int, longest: int) -> None:
        """Count which items are alike, where a view needs it.

        Args:
            config: which views.
            rows: training histories.
            num_items: items 1..num_items.
            longest: events of a view, at most: of a longer one the most recent are kept.
        """
        self.config = config
        self.longest = longest
        self._similar_VK: Tensor | None = None
        if SIMILAR & set(config.views):
            # A fixed stream: which histories are counted says nothing about the seed of training.
            self._similar_VK = similar_items(rows, num_items, torch.Generator().manual_seed(0))

    def draw(self, history: History, generator: torch.Generator) -> History:
        """Draw one view of every history of a batch."""
        names = self.config.views
        if self.config.mix == "compose" or len(names) == 1:
            for name in names:
                history = self._apply(name, history, generator)
        else:
            history = self._choose(history, generator)
        return views.keep_recent(history, self.longest)

    def _choose(self, history: History, generator: torch.Generator) -> History:
        """Draw each row's view at random, all equally likely; rows are grouped by view."""
        names = self.config.views
        choice_B = torch.randint(len(names), history.length_B.shape, generator=generator)
        parts, rows = [], []
        for index, name in enumerate(names):
            row_C = (choice_B == index).nonzero().squeeze(1).to(history.length_B.device)
            if row_C.numel():
                parts.append(self._apply(name, history.take(row_C), generator))
                rows.append(row_C)
        return joined(parts).take(torch.cat(rows).argsort())

    def _apply(self, name: ViewName, history: History, generator: torch.Generator) -> History:
        config = self.config
        match name:
            case "dropout":
                return history
            case "crop":
                return views.crop(history, config.crop_keep, generator)
            case "mask":
                return views.mask(history, config.mask_share, MASK, generator)
            case "reorder":
                return views.reorder(history, config.reorder_share, generator)
            case "substitute" | "insert":
                share = getattr(config, f"{name}_share")
                operate = views.substitute if name == "substitute" else views.insert
                similar_VK = self._similar(history.length_B.device)
                return operate(history, share, similar_VK, generator)

    def _similar(self, device: torch.device) -> Tensor:
        assert self._similar_VK is not None
        self._similar_VK = self._similar_VK.to(device)
        return self._similar_VK
