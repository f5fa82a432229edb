"""Popularity of items in training."""

import torch
from torch import Tensor

from recxfer.data.dataset import Dataset


def item_popularity(dataset: Dataset) -> Tensor:
    """Count the training events of each item, int64 (num_items + 1,); place 0 is padding."""
    events = dataset.events
    train_E = events.item_E[events.split_E == 0].long()
    return torch.bincount(train_E, minlength=dataset.num_items + 1)
