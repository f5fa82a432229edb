"""Pretraining objectives and transfer methods: one file each, and one line in a table here."""

from typing import TYPE_CHECKING

from recxfer.foundation.registry import Entry, Table

if TYPE_CHECKING:
    from recxfer.methods.contract import AnyMethod, AnyObjective

OBJECTIVES: "Table[type[AnyObjective]]" = Table(
    "objective",
    [
        Entry(
            "next-item",
            "predict each event from those before it",
            "recxfer.methods.objectives.next_item:NextItem",
        ),
        Entry(
            "cloze",
            "hide events and predict them from both sides",
            "recxfer.methods.objectives.cloze:Cloze",
        ),
        Entry(
            "clue",
            "bring two views of one person's whole history together (Cheng et al. 2021)",
            "recxfer.methods.objectives.clue:Clue",
        ),
        Entry(
            "transrec",
            "predict each event, items being known by text and images alone (Fu et al. 2022)",
            "recxfer.methods.transrec:TransRec",
        ),
    ],
    group="recxfer.objectives",
    contract="recxfer.methods.contract:Objective",
)
"""What `pretrain --objective` knows."""

METHODS: "Table[type[AnyMethod]]" = Table(
    "method",
    [
        Entry(
            "peterrec",
            "frozen backbone, small grafted patches and a head per task (Yuan et al. 2020)",
            "recxfer.methods.peterrec:PeterRec",
        ),
        Entry(
            "lora",
            "frozen weights, each with a low-rank update (Hu et al. 2022)",
            "recxfer.methods.lora:LoRA",
        ),
        Entry(
            "houlsby",
            "adapters behind every sublayer, and all norms (Houlsby et al. 2019)",
            "recxfer.methods.houlsby:Houlsby",
        ),
        Entry(
            "bitfit",
            "of the backbone, only the biases train (Ben Zaken et al. 2022)",
            "recxfer.methods.bitfit:BitFit",
        ),
        Entry(
            "conure",
            "task after task in one network, nothing forgotten (Yuan et al. 2021)",
            "recxfer.methods.conure:Conure",
        ),
        Entry(
            "ewc",
            "all weights train, held back where earlier tasks need them (Kirkpatrick et al. 2017)",
            "recxfer.methods.ewc:EWC",
        ),
        Entry(
            "replay",
            "all weights train, on examples of earlier tasks too (Chaudhry et al. 2019)",
            "recxfer.methods.replay:Replay",
        ),
        Entry(
            "uaf",
            "which blocks are fine-tuned is decided for each user (Chen et al. 2021)",
            "recxfer.methods.uaf:UAF",
        ),
        Entry(
            "transrec",
            "item encoders and user encoder go on, with other items (Fu et al. 2022)",
            "recxfer.methods.transrec:TransRecTransfer",
        ),
        Entry(
            "unisrec",
            "frozen features of items through whitening experts (Hou et al. 2022)",
            "recxfer.methods.unisrec:UniSRec",
        ),
        Entry(
            "linear-adaptor",
            "frozen features of items through one linear layer",
            "recxfer.methods.linear_adaptor:LinearAdaptor",
        ),
        Entry(
            "finetune",
            "all weights go on training from the pretrained ones",
            "recxfer.methods.finetune:FineTune",
        ),
        Entry(
            "last-layers",
            "only the highest blocks and the head train",
            "recxfer.methods.last_layers:LastLayers",
        ),
        Entry(
            "probe",
            "a linear head on the frozen user vectors",
            "recxfer.methods.probe:Probe",
        ),
        Entry(
            "scratch",
            "the same network without pretraining",
            "recxfer.methods.scratch:Scratch",
        ),
        Entry(
            "popular",
            "what is most frequent in training, the same for everybody",
            "recxfer.methods.popular:Popular",
        ),
        Entry(
            "user-knn",
            "what people with similar histories chose",
            "recxfer.methods.user_knn:UserKNN",
        ),
    ],
    group="recxfer.methods",
    contract="recxfer.methods.contract:Method",
)
"""What `transfer --method` knows."""
