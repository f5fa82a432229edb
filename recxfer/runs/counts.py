"""Count the parameters of a model: all, those that train, and those of the body alone."""

from collections.abc import Iterable

from torch import nn

from recxfer.methods.contract import Adapted, trained_names
from recxfer.models.adapters.ownership import kernels
from recxfer.models.backbones.contract import Backbone
from recxfer.models.heads import LinearHead
from recxfer.models.items.contract import ItemEncoder
from recxfer.models.user_model import UserModel
from recxfer.runs.record import Counts


def count(adapted: Adapted, body: int) -> Counts:
    """Count a model that is about to be trained.

    Args:
        adapted: the model, and what trains.
        body: as `count_body` gives it for the base's backbone.
    """
    model = adapted.model
    chosen = trained_names(adapted.phases)
    trained = [p for name, p in model.named_parameters() if name in chosen]
    return Counts(
        parameters=sum(p.numel() for p in model.parameters()),
        trained=sum(_numel(model, trained)),
        trained_of_body=count_body(model, trained),
        body=body,
    )


def count_body(model: nn.Module, parameters: Iterable[nn.Parameter]) -> int:
    """Count numbers that belong neither to an item table nor to a task: head, tokens."""
    outer = set()
    for module in model.modules():
        if isinstance(module, LinearHead):
            outer |= {id(parameter) for parameter in module.parameters()}
        if isinstance(module, UserModel):
            outer |= {id(token) for token in module.tokens}
        if isinstance(module, ItemEncoder):
            outer |= {id(parameter) for parameter in module.parameters()}
    return sum(_numel(model, [p for p in parameters if id(p) not in outer]))


def _numel(model: nn.Module, parameters: Iterable[nn.Parameter]) -> list[int]:
    """Sizes of parameters; of a kernel that is shared out, the free entries alone."""
    free = {
        id(kernel.weight): kernel.owned.num_free
        for module in model.modules()
        if isinstance(module, Backbone)
        for kernel in kernels(module)
    }
    return [free.get(id(p), p.numel()) for p in parameters]
