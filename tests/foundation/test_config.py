"""Layers of settings, and what is said when they are wrong."""

from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field

from recxfer.foundation.config import Config, Settings
from recxfer.foundation.errors import ConfigError


class Optim(Config):
    """Settings of a test."""

    lr: float = Field(default=0.001, gt=0)
    """Rate."""

    epochs: int = 3
    """Passes."""

    schedule: Literal["cosine", "constant"] = "cosine"
    """Shape."""


class Model(Config):
    """Settings of a test."""

    width: int | None = None
    """Size."""

    epochs: int = 1
    """Shares its name with the other section."""

    where: str = ""
    """Text."""

    sizes: tuple[int, ...] = ()
    """Several."""


SECTIONS = {"optim": Optim, "backbone": Model}


def decode(file=None, assignments=(), explicit=None):
    return Settings.read(file, assignments).decode(SECTIONS, explicit)


def message(*assignments, file=None):
    with pytest.raises(ConfigError) as caught:
        decode(file, assignments)
    return caught.value.message


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "run.toml"
    path.write_text('[optim]\nlr = 0.1\nepochs = 5\n[backbone]\nname = "sasrec"\nwidth = 8\n')
    return path


def test_defaults_need_nothing():
    assert decode() == {"optim": Optim(), "backbone": Model()}


def test_flags_win_over_set_over_file_over_defaults(file):
    found = decode(file, ["optim.lr=0.2", "width=16"], {"optim": {"lr": 0.3, "epochs": None}})
    assert found["optim"] == Optim(lr=0.3, epochs=5, schedule="cosine")
    assert found["backbone"].width == 16


def test_the_last_of_several_assignments_counts():
    assert decode(assignments=["lr=0.1", "optim.lr=0.2"])["optim"].lr == 0.2


def test_a_component_is_named_by_flag_then_set_then_file(file):
    assert Settings.read().name("backbone", None, "nextitnet") == "nextitnet"
    assert Settings.read(file).name("backbone", None, "nextitnet") == "sasrec"
    assert Settings.read(file, ["backbone.name=gru"]).name("backbone", None, "x") == "gru"
    assert Settings.read(file, ["backbone.name=gru"]).name("backbone", "cnn", "x") == "cnn"


def test_only_components_have_a_name():
    assert "optim.name (--set): unknown key; there are lr, epochs, schedule" in message(
        "optim.name=adam"
    )


@pytest.mark.parametrize(
    "assignment, section, key, value",
    [
        ("lr=3e-4", "optim", "lr", 3e-4),
        ("lr=1", "optim", "lr", 1.0),
        ("schedule=constant", "optim", "schedule", "constant"),
        ('schedule="constant"', "optim", "schedule", "constant"),
        ("where=rating >= 4", "backbone", "where", "rating >= 4"),
        ("where=7", "backbone", "where", "7"),
        ("where=true", "backbone", "where", "true"),
        ("where=", "backbone", "where", ""),
        ("where=a=b", "backbone", "where", "a=b"),
        ("sizes=[1, 2]", "backbone", "sizes", (1, 2)),
    ],
)
def test_the_declared_type_decides_what_a_text_means(assignment, section, key, value):
    found = getattr(decode(assignments=[assignment])[section], key)
    assert found == value
    assert type(found) is type(value)


def test_all_problems_are_told_at_once_and_where_they_come_from(file):
    file.write_text("[optim]\nlr = -1\n[backbnoe]\nwidth = 1\n")
    lines = message("width=wide", "optim.epocs=2", "sizes=[1, 'x']", file=file).splitlines()
    assert lines == [
        "backbnoe.width (run.toml): unknown section; there are optim, backbone; "
        "did you mean 'backbone'?",
        "optim.lr (run.toml): Input should be greater than 0, found -1",
        "optim.epocs (--set): unknown key; there are lr, epochs, schedule; did you mean 'epochs'?",
        "backbone.width (--set): Input should be a valid integer, "
        "unable to parse string as an integer, found 'wide'",
        "backbone.sizes (--set): Input should be a valid integer, "
        "unable to parse string as an integer, found 'x'",
    ]


def test_a_bare_key_must_belong_to_one_section():
    assert message("epochs=2") == (
        "epochs (--set): ambiguous; write optim.epochs or backbone.epochs"
    )
    assert message("widht=2") == "widht (--set): unknown key; did you mean 'width'?"


def test_a_bad_flag_is_called_by_its_name():
    with pytest.raises(ConfigError, match=r"^optim\.lr \(--lr\): .* greater than 0"):
        decode(explicit={"optim": {"lr": 0.0}})


def test_a_command_without_settings_takes_none():
    with pytest.raises(ConfigError, match="there are none here"):
        Settings.read(None, ["optim.lr=1"]).decode({})


@pytest.mark.parametrize("assignment", ["lr", "=3", " =3"])
def test_an_assignment_has_a_key_and_a_value(assignment):
    with pytest.raises(ConfigError, match="expected key=value"):
        Settings.read(None, [assignment])


def test_the_file_must_be_there_and_be_toml(tmp_path):
    with pytest.raises(ConfigError, match="no such file"):
        Settings.read(tmp_path / "absent.toml")
    broken = tmp_path / "broken.toml"
    broken.write_text("[optim\n")
    with pytest.raises(ConfigError, match="not valid TOML"):
        Settings.read(broken)
    broken.write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match="not valid TOML"):
        Settings.read(broken)


@given(
    lr=st.floats(min_value=1e-30, allow_infinity=False),
    epochs=st.integers(),
    sizes=st.lists(st.integers(), max_size=4),
)
def test_what_is_written_with_set_is_what_is_read(lr, epochs, sizes):
    found = decode(assignments=[f"optim.epochs={epochs}", f"lr={lr}", f"sizes={sizes}"])
    assert found["optim"].lr == lr
    assert found["optim"].epochs == epochs
    assert found["backbone"].sizes == tuple(sizes)
