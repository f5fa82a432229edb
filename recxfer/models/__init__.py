"""Backbones, heads, losses and adapters: modules that know nothing of files or commands."""

from typing import TYPE_CHECKING

from recxfer.foundation.registry import Entry, Table

if TYPE_CHECKING:
    from recxfer.models.backbones.contract import Backbone

BACKBONES: "Table[type[Backbone]]" = Table(
    "backbone",
    [
        Entry(
            "sasrec",
            "Transformer with learned positions (Kang and McAuley 2018)",
            "recxfer.models.backbones.sasrec:SASRec",
        ),
        Entry(
            "nextitnet",
            "dilated residual convolutions (Yuan et al. 2019)",
            "recxfer.models.backbones.nextitnet:NextItNet",
        ),
        Entry(
            "gru4rec",
            "gated recurrent units (Hidasi et al. 2016); causal only",
            "recxfer.models.backbones.gru4rec:GRU4Rec",
        ),
    ],
    group="recxfer.backbones",
    contract="recxfer.models.backbones.contract:Backbone",
)
"""The sequence encoders `pretrain --backbone` knows."""
