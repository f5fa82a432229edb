"""A domain of generated texts and pictures: items of every kind."""

import numpy as np
import pytest
import torch

from recxfer.data.content import ItemContent
from recxfer.models.content.config import ContentConfig
from recxfer.models.content.table import ContentTable

KINDS = ("both", "text", "image", "neither")
"""Item v is of kind (v - 1) % 4."""

SMALL = {
    "encoder_dropout": 0.0,
    "text_width": 8,
    "text_depth": 2,
    "text_heads": 2,
    "text_buckets": 500,
    "image_side": 16,
    "image_width": 16,
    "image_depth": 2,
    "image_heads": 2,
    "patch": 4,
    "max_tokens": 6,
}


@pytest.fixture
def make_content():
    """A function that makes content in which no two texts or pictures are alike."""

    def make(items, *, kinds=KINDS, side=16, seed=0, fingerprint="f" * 64):
        draw = np.random.default_rng(seed)
        kind_V = [kinds[number % len(kinds)] for number in range(items)]
        row_V1 = torch.full((items + 1,), -1)
        pictured = [number for number, kind in enumerate(kind_V, 1) if kind in ("both", "image")]
        row_V1[pictured] = torch.arange(len(pictured))
        pixels = draw.integers(0, 256, (len(pictured), side, side, 3), dtype=np.uint8)
        return ItemContent(
            text_V=tuple(
                f"{'very ' * (number % 4)}thing {number} of {seed}"
                if kind in ("both", "text")
                else ""
                for number, kind in enumerate(kind_V, 1)
            ),
            image_row_V1=row_V1,
            pixels=pixels if pictured else None,
            fingerprint=fingerprint,
        )

    return make


@pytest.fixture
def content(make_content):
    """17 items, of each of the four kinds."""
    return make_content(17)


@pytest.fixture
def make_table():
    """A function that makes a table with weights large enough for differences to show."""

    def make(content=None, *, width=12, cache=None, **settings):
        torch.manual_seed(0)
        table = ContentTable(ContentConfig(**{"modality": "both"} | SMALL | settings), width)
        with torch.no_grad():
            for parameter in table.parameters():
                parameter.copy_(torch.randn_like(parameter) * 0.3)
        if content is not None:
            table.attach(content, cache)
        return table

    return make
