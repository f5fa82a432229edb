"""Method `scratch`: train the same network on the target alone, from random weights.

What pretraining must beat (PeterZero in PeterRec, table 2).
"""

from dataclasses import replace
from typing import ClassVar, final

from typing_extensions import override

from recxfer.foundation.config import Config
from recxfer.foundation.rng import Rng
from recxfer.methods.contract import Adapted, Base, Method, Needs
from recxfer.methods.supervised import SupervisedConfig, TaskLearner, in_one_phase, user_model
from recxfer.methods.task import Task
from recxfer.models.heads import LinearHead


class ScratchConfig(SupervisedConfig):
    """Settings of `scratch`."""


@final
class Scratch(Method[ScratchConfig]):
    """Forget the pretrained weights, then train everything."""

    config_type: ClassVar[type[Config]] = ScratchConfig
    needs: ClassVar[Needs] = Needs(base="architecture")

    @override
    def adapt(self, base: Base, task: Task, rng: Rng) -> Adapted:
        """Draw the weights of the base's architecture anew."""
        old = base.backbone
        rng.seed_all("backbone")
        new = type(old)(old.config, old.num_items, causal=old.causal)
        head = None if base.head is None else LinearHead(old.width, old.num_items)
        fresh = replace(base, encoder=new, head=head)
        model = user_model(fresh, task, self.config.readout, rng)
        return in_one_phase("scratch", model, [model], TaskLearner(self.config))
