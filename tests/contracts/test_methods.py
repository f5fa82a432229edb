"""Every line of `METHODS` keeps the contract of a method, whatever the base was pretrained by."""

import pytest

from recxfer.methods import METHODS
from recxfer.testing.method_contract import MethodContract

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


@pytest.mark.parametrize(
    "base", [("sasrec", "cloze"), ("nextitnet", "next-item"), ("nextitnet", "cloze")], ids="-".join
)
@pytest.mark.parametrize("method", methods(lambda method: "profile" in method.needs.tasks))
def test_profiles_are_learned_from_every_kind_of_base(method, base, tmp_path):
    contract_of(method, *base).test_profiles_are_learned_and_restored(tmp_path)


@pytest.mark.parametrize("method", methods(lambda method: method.needs.items != "content"))
def test_the_same_seed_gives_the_same_bytes_on_convolutions_too(method, tmp_path):
    contract_of(method, "nextitnet").test_the_same_seed_gives_the_same_bytes(tmp_path)


@pytest.mark.parametrize("method", methods(lambda method: method.parameter_efficient))
def test_a_delta_of_convolutions_is_small_too(method, tmp_path):
    contract = contract_of(method, "nextitnet")
    contract.test_a_delta_of_default_settings_is_under_15_percent(tmp_path)
