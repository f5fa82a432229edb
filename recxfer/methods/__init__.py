"""Pretraining objectives and transfer methods: one file each, and one line in a table here."""

from recxfer.foundation.registry import Entry, Table

OBJECTIVES = Table(
    "objective",
    [
        Entry(
            "next-item",
            "predict each event from those before it",
            "recxfer.methods.next_item:NextItem",
        ),
        Entry(
            "cloze",
            "hide events and predict them from both sides",
            "recxfer.methods.cloze:Cloze",
        ),
    ],
)
"""What `pretrain --objective` knows."""

METHODS = Table(
    "method",
    [
        Entry(
            "peterrec",
            "frozen backbone, small grafted patches and a head per task (Yuan et al. 2020)",
            "recxfer.methods.peterrec:PeterRec",
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
    ],
)
"""What `transfer --method` knows."""
