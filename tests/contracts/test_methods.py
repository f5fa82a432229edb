"""Every line of `METHODS` keeps the contract of a method, whatever the base was pretrained by."""

import re
from pathlib import Path

import pytest

from recxfer.foundation.registry import Entry
from recxfer.methods import METHODS, OBJECTIVES
from recxfer.models import BACKBONES
from recxfer.testing.method_contract import MethodContract
from recxfer.testing.world import go_together

IMPERSONAL = {"popular"}
"""Methods that tell everyone the same."""


def contract_of(method, backbone="sasrec", objective="next-item"):
    contract = MethodContract()
    contract.method, contract.backbone, contract.objective = method, backbone, objective
    contract.personal = method not in IMPERSONAL
    return contract


def methods(condition):
    return [name for name in METHODS.names if condition(METHODS.resolve(name))]


@pytest.mark.parametrize("name", METHODS.names)
class TestMethods(MethodContract):
    @pytest.fixture(autouse=True)
    def chosen(self, name):
        self.method, self.personal = name, name not in IMPERSONAL


GUIDE = Path(__file__).parents[2] / "docs" / "guides" / "add-a-method.md"
(CODE,) = re.findall(r"```python\n(.*?)```", GUIDE.read_text(), re.DOTALL)
EXAMPLE = {"__name__": __name__}
exec(CODE, EXAMPLE)
Scale = EXAMPLE["Scale"]


class TestTheMethodOfTheGuide(MethodContract):
    """The example of `docs/guides/add-a-method.md`, as it stands there."""

    method = "scale"

    @pytest.fixture(autouse=True)
    def listed(self, monkeypatch):
        monkeypatch.setitem(METHODS._entries, "scale", Entry("scale", "", f"{__name__}:Scale"))


def predicts_items(objective):
    """Whether an objective makes a base that knows single items by number."""
    objective_type = OBJECTIVES.resolve(objective)
    built = objective_type(objective_type.config_type())
    return built.content is None and built.item_learner() is not None


USUAL = (MethodContract.backbone, MethodContract.objective)
OTHER_BACKBONES = [name for name in BACKBONES.names if name != MethodContract.backbone]
OTHER_BASES = [
    (backbone, objective)
    for backbone in BACKBONES.names
    for objective in OBJECTIVES.names
    if predicts_items(objective)
    if go_together(backbone, objective)
    if (backbone, objective) != USUAL
]


@pytest.mark.parametrize("base", OTHER_BASES, ids="-".join)
@pytest.mark.parametrize("method", methods(lambda method: "profile" in method.needs.tasks))
def test_profiles_are_learned_from_every_kind_of_base(method, base, tmp_path):
    contract_of(method, *base).test_profiles_are_learned_and_restored(tmp_path)


@pytest.mark.parametrize("backbone", OTHER_BACKBONES)
@pytest.mark.parametrize("method", methods(lambda method: method.needs.items != "content"))
def test_the_same_seed_gives_the_same_bytes_on_every_backbone(method, backbone, tmp_path):
    contract_of(method, backbone).test_the_same_seed_gives_the_same_bytes(tmp_path)


@pytest.mark.parametrize("backbone", OTHER_BACKBONES)
@pytest.mark.parametrize("method", methods(lambda method: method.parameter_efficient))
def test_a_delta_on_every_backbone_is_small(method, backbone, tmp_path):
    contract = contract_of(method, backbone)
    contract.test_a_delta_of_default_settings_is_under_15_percent(tmp_path)
