"""Weights that belong to tasks: what a task owns no later one can move.

Yuan et al., One Person, One Model, One World: Learning Continual User Representation without
Forgetting (SIGIR 2021), section 3: every kernel is shared out among tasks, entry by entry.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize
from typing_extensions import override

from recxfer.models.backbones.contract import Backbone

MOST_TASKS = 255
"""Owners are kept in a byte."""


class Owned(nn.Module):
    """A kernel of which one task trains its part, while the parts of earlier ones stay.

    The parameter counts only where the task learns; all other values lie in a buffer, where
    neither gradients nor momentum, weight decay or rounding reach them. While the task is trained
    it learns all free entries; once it is pruned, those that it kept. Free entries then count as
    zero, but keep their values for the next task.
    """

    owner: Tensor
    stored: Tensor
    learning: Tensor
    rate: Tensor

    def __init__(self, weight: Tensor, owner: Tensor, number: int) -> None:
        """Wrap a kernel.

        Args:
            weight: all values of the kernel.
            owner: uint8, the task that owns each entry, counted from 1; 0 where it is free.
            number: the task that is to learn.
        """
        super().__init__()
        self.number = number
        self.register_buffer("owner", owner.clone().contiguous())
        self.register_buffer("stored", weight.detach().clone())
        self.register_buffer("learning", torch.zeros((), dtype=torch.uint8, device=weight.device))
        self.register_buffer("rate", torch.zeros((), dtype=torch.float32))

    @override
    def forward(self, weight: Tensor) -> Tensor:
        """Compute the kernel as the layer uses it; same shape."""
        fixed = torch.where(self.owner > 0, self.stored, 0.0)
        return torch.where(self.owner == self.learning, weight, fixed)

    def complete(self, weight: Tensor) -> Tensor:
        """Return all values, also those of free entries."""
        return torch.where(self.owner == self.learning, weight, self.stored).detach()

    @property
    def num_free(self) -> int:
        """Entries that no task owns."""
        return int((self.owner == 0).sum())

    @torch.no_grad()
    def prune(self, weight: Tensor, num_left: int, rate: float) -> None:
        """Give the task the largest free entries, until `num_left` are free.

        Of entries of one size the first ones are kept: the count is exact.

        Args:
            weight: the parameter.
            num_left: free entries afterwards.
            rate: the share of the free entries that this is, as it was asked for; it is noted.
        """
        free = self.owner == 0
        self.stored.copy_(torch.where(free, weight, self.stored))
        size = torch.where(free, weight.abs(), -1.0).flatten()
        kept = size.argsort(descending=True, stable=True)[: self.num_free - num_left]
        self.owner.view(-1)[kept] = self.number
        self.learning.fill_(self.number)
        self.rate.fill_(rate)

    @torch.no_grad()
    def undo(self) -> None:
        """Free again what the task was given, as before `prune`."""
        self.owner[self.owner == self.number] = 0
        self.learning.zero_()


@dataclass(frozen=True, slots=True)
class Kernel:
    """One kernel of a backbone, and who owns it."""

    name: str
    """The name of its weight in a backbone without owners."""

    weight: nn.Parameter
    owned: Owned


def own_kernels(backbone: Backbone, owners: Mapping[str, Tensor] | None, number: int) -> None:
    """Share out every kernel of every block, in place.

    Args:
        backbone: with all values, those of free entries too.
        owners: the owner map of each kernel, by name; None: everything is free.
        number: the task that is to learn.
    """
    for weight in backbone.kernels():
        free = torch.zeros_like(weight.tensor, dtype=torch.uint8)
        owner = free if owners is None else owners[weight.name].to(free.device)
        owned = Owned(weight.tensor, owner, number)
        parametrize.register_parametrization(weight.layer, weight.attribute, owned)


def kernels(backbone: Backbone) -> list[Kernel]:
    """Return the shared-out kernels of a backbone, lowest first; none where nothing is owned."""
    if not any(isinstance(module, Owned) for module in backbone.modules()):
        return []
    found = []
    for weight in backbone.kernels():
        parts = weight.layer.get_submodule(f"parametrizations.{weight.attribute}")
        owned = parts.get_submodule("0")
        assert isinstance(owned, Owned)
        found.append(Kernel(weight.name, parts.get_parameter("original"), owned))
    return found


def whole_state(backbone: Backbone) -> dict[str, Tensor]:
    """Collect the tensors of a backbone under the names they have where nothing is owned."""
    owned = {kernel.name: kernel for kernel in kernels(backbone)}
    state = {
        name: tensor
        for name, tensor in backbone.state_dict().items()
        if ".parametrizations." not in name
    }
    return state | {name: k.owned.complete(k.weight) for name, k in owned.items()}


def of_tasks(weight: Tensor, owner: Tensor, number: int) -> Tensor:
    """Mask a kernel for a task: its own entries and those of earlier tasks, zero elsewhere."""
    return torch.where((owner > 0) & (owner <= number), weight, 0.0)


def pack(owner: Tensor, num_tasks: int) -> Tensor:
    """Pack an owner map as bit planes: uint8 (planes, bytes), eight entries in a byte, lowest
    first.
    """
    planes = num_tasks.bit_length()
    flat = owner.flatten().cpu()
    padded = torch.zeros(-(-flat.numel() // 8) * 8, dtype=torch.uint8)
    padded[: flat.numel()] = flat
    weight_8 = 2 ** torch.arange(8, dtype=torch.uint8)
    return torch.stack(
        [
            (((padded >> plane) & 1).view(-1, 8) * weight_8).sum(1).to(torch.uint8)
            for plane in range(planes)
        ]
    )


def unpack(packed: Tensor, shape: Sequence[int]) -> Tensor:
    """Invert `pack`: uint8 of the kernel's shape."""
    place_8 = torch.arange(8, dtype=torch.uint8)
    bits = (packed[:, :, None] >> place_8) & 1
    weight_P1 = 2 ** torch.arange(packed.shape[0], dtype=torch.uint8)[:, None]
    flat = (bits.flatten(1) * weight_P1).sum(0).to(torch.uint8)
    return flat[: torch.Size(shape).numel()].view(*shape)
