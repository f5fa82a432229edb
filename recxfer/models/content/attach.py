"""Put a content table in place of a backbone's item table, and attach the items of a domain."""

from collections.abc import Callable

from torch import Tensor, nn

from recxfer.data.content import ItemContent
from recxfer.foundation.files import Json
from recxfer.models.backbones.contract import Backbone
from recxfer.models.content.config import ContentConfig
from recxfer.models.content.contract import Encoder
from recxfer.models.content.modalities import FeatureCache, Modality
from recxfer.models.content.table import ContentTable


def read_content(backbone: Backbone, table: ContentTable) -> None:
    """Let a backbone read items from a content table, in place of its own table."""
    backbone.item_table = table


def reads_content(model: nn.Module) -> bool:
    """Return whether a model reads items by content: of any domain, once attached."""
    return any(isinstance(module, ContentTable) for module in model.modules())


def content_table(backbone: Backbone) -> ContentTable:
    """Return the content table of a backbone that reads content."""
    table = backbone.item_table
    assert isinstance(table, ContentTable), "this backbone knows items by their numbers"
    return table


def attach(model: nn.Module, content: ItemContent, cache: FeatureCache | None = None) -> None:
    """Let every backbone of a model that reads content read the items of a domain.

    Args:
        model: that has such backbones, or none.
        content: of the domain.
        cache: keeps the features of frozen encoders between runs.

    Raises:
        DataError: no item has what the encoders read.
    """
    for backbone in (module for module in model.modules() if isinstance(module, Backbone)):
        if reads_content(backbone):
            content_table(backbone).attach(content, cache)
            backbone.num_items = content.num_items


def unread(model: nn.Module, content: ItemContent) -> int:
    """Count the items of a domain with nothing a model reads: all unknown to it, and alike.

    Args:
        model: that reads content.
        content: of the domain.
    """
    config = next(m.config for m in model.modules() if isinstance(m, ContentTable))
    read_V1 = content.has_text_V1 & config.reads_text | content.has_image_V1 & config.reads_images
    return content.num_items - int(read_V1.sum())


def freeze_encoders(table: ContentTable) -> None:
    """Freeze all layers of the encoders; what is behind them still trains."""
    for module in table.modules():
        if isinstance(module, Encoder):
            module.train_layers(0)


def replace_projections(table: ContentTable, make: Callable[[int, int], nn.Module]) -> None:
    """Put other layers behind the encoders.

    Args:
        table: whose projections are dropped.
        make: a module (M, F) to (M, D) from F and D.
    """
    for side in table.sides.values():
        assert isinstance(side, Modality)
        side.projection = make(side.encoder.features, table.width)


def readable_features(table: ContentTable, kind: str, item_N: Tensor) -> Tensor:
    """Compute features (R, F) of the items that one encoder, `text` or `image`, can read."""
    feature_VF, side = table.features(kind), table.sides[kind]
    assert isinstance(side, Modality)
    read_R = item_N[side.readable_V1[item_N]]
    return feature_VF[read_R.to(feature_VF.device) - 1]


def table_facts(table: ContentTable) -> Json:
    """Describe a content table, to build one of this shape again: JSON."""
    own = {name: getattr(table.config, name) for name in ContentConfig.model_fields}
    config = ContentConfig.model_validate(own).portable()
    return {"config": config.model_dump(mode="json"), "encoders": table.described}


def table_of_facts(facts: Json, width: int) -> ContentTable:
    """Build a content table from its facts; the weights have still to be loaded."""
    return ContentTable(ContentConfig.model_validate(facts["config"]), width, facts["encoders"])
