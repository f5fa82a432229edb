"""Every line of `BACKBONES` keeps the contract of a backbone, under all settings of its blocks."""

import pytest

from recxfer.models import BACKBONES
from recxfer.testing.backbone_contract import BackboneContract

MORE = {"nextitnet": [{"norm": "pre"}]}
"""Settings beside the default ones that change what a block is."""

SETTINGS = [(name, more) for name in BACKBONES.names for more in ({}, *MORE.get(name, ()))]


@pytest.mark.parametrize(("name", "more"), SETTINGS)
class TestBackbones(BackboneContract):
    @pytest.fixture(autouse=True)
    def chosen(self, name, more):
        self.backbone = BACKBONES.resolve(name)
        self.settings = more

    def test_its_name_is_that_of_the_table(self, name):
        assert self.backbone.name == name
