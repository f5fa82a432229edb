"""What methods are built of: names of what trains, rates by name, and learners without vectors."""

import pytest
import torch
from torch import nn

from recxfer.foundation.rng import Rng
from recxfer.methods.contract import Base, Phase, adapt, names_of
from recxfer.methods.lora import LoRA, LoRAConfig
from recxfer.methods.task import Task
from recxfer.models import BACKBONES
from recxfer.testing.commands import transferred
from recxfer.training.loop import freeze_all_but
from recxfer.training.optim import OptimConfig, build_optimiser


def base(name="sasrec"):
    backbone_type = BACKBONES.resolve(name)
    encoder = backbone_type(backbone_type.config_type(width=8, max_length=10), 20, causal=True)
    return Base(encoder=encoder, num_items=20, objective="next-item")


def test_names_are_those_of_the_model_in_the_order_of_the_owners():
    model = nn.ModuleDict({"a": nn.Linear(2, 2), "b": nn.Linear(2, 2, bias=False)})
    assert names_of(model, [model["b"], model["a"]]) == ["b.weight", "a.weight", "a.bias"]
    assert names_of(model, [model["a"].bias, model]) == ["a.bias", "a.weight", "b.weight"]


def test_a_tied_parameter_has_one_name():
    model = nn.ModuleDict({"a": nn.Linear(2, 2, bias=False), "b": nn.Linear(2, 2, bias=False)})
    model["b"].weight = model["a"].weight
    assert names_of(model, [model["b"]]) == ["a.weight"]


def test_inherited_is_what_the_model_took_over_from_the_base_and_nothing_else():
    known = base()
    whole = set(known.encoder.state_dict())
    adapted = adapt(LoRA(LoRAConfig()), known, Task("profile", 2, "taste", ("a", "b")), Rng(0))
    added = set(adapted.model.state_dict()) - adapted.inherited
    assert all("parametrizations" in name or name.startswith("head.") for name in added)
    assert not any(name.endswith(".original") for name in added), "frozen kernels are the base's"
    assert len(adapted.inherited) == len(whole)


def test_what_trains_goes_by_name_also_when_the_parameters_are_replaced():
    model = nn.ModuleDict({"a": nn.Linear(2, 2), "b": nn.Linear(2, 2)})
    phase = Phase(name="p", trainable=names_of(model, [model["a"]]))
    for module in model.values():  # as sharding does
        module.weight = nn.Parameter(module.weight.detach().clone())
    freeze_all_but(model, phase.trainable)
    assert [n for n, p in model.named_parameters() if p.requires_grad] == ["a.weight", "a.bias"]


def test_rates_are_multiples_of_the_learning_rate_by_name():
    model = nn.ModuleDict({"a": nn.Linear(2, 2), "b": nn.Linear(2, 2)})
    phase = Phase(name="p", trainable=names_of(model, [model]), rates={"b.weight": 0.1})
    optimiser = build_optimiser(model, phase, OptimConfig(lr=0.5, weight_decay=0.2))
    found = {
        id(p): (group["lr"], group["weight_decay"])
        for group in optimiser.param_groups
        for p in group["params"]
    }
    assert found[id(model["a"].weight)] == (0.5, 0.2)
    assert found[id(model["b"].weight)] == (pytest.approx(0.05), 0.2)
    assert found[id(model["b"].bias)] == (0.5, 0.0)


@pytest.mark.parametrize("slow", [0.0, 0.01])
def test_a_rate_slows_a_parameter_down(slow, films, bases, tmp_path, monkeypatch):
    """Through the real loop: Adam's first steps are as long as the rate."""
    from recxfer.methods import finetune
    from recxfer.runs.open import open_base, open_run

    real = finetune.in_one_phase

    def with_rate(*arguments, **options):
        adapted = real(*arguments, **options)
        (phase,) = adapted.phases
        rates = {n: slow for n in phase.trainable if n.startswith("backbone.blocks.")}
        object.__setattr__(phase, "rates", rates)
        return adapted

    monkeypatch.setattr(finetune, "in_one_phase", with_rate)
    path = bases["nextitnet", "next-item"]
    transferred(path, films, tmp_path / "run", "finetune", "profile:taste", epochs=1)
    after = open_run(tmp_path / "run", torch.device("cpu")).model.backbone.state_dict()
    moved = {
        name: float((after[name] - before).abs().max())
        for name, before in open_base(path, Rng(0)).base.backbone.state_dict().items()
    }
    blocks = max(value for name, value in moved.items() if name.startswith("blocks."))
    assert blocks == 0 if slow == 0 else 0 < blocks < 0.1 * moved["item_table.weight"]
