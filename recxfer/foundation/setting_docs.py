"""Describe settings in words: key, type, allowed values, default and meaning, from their fields.

What `--settings` shows and what the tables of the docs say comes from here, and from nowhere else.
"""

import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import chain
from typing import Any, Final

from recxfer.foundation.config import Config
from recxfer.foundation.files import Json

_TYPES: Final = {
    "integer": "int",
    "number": "float",
    "string": "str",
    "boolean": "bool",
}
"""Types of JSON schema, as Python and TOML call them."""

_LIMITS: Final = {
    "minimum": "at least",
    "exclusiveMinimum": "above",
    "maximum": "at most",
    "exclusiveMaximum": "below",
}
"""Limits of JSON schema, lower ones first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """One setting of a section, as a user may give it with `--set SECTION.KEY=VALUE`."""

    section: str
    key: str
    type: str
    """`int`, `float`, `str`, `bool`, `list of int`, or several joined by `or`."""

    choices: tuple[str, ...]
    """The values that can be chosen; empty where there is no list."""

    allowed: str
    """What can be given, in words: `int, at least 1`, or the choices in backquotes."""

    default: Any
    """As JSON has it; None where the meaning says what is taken."""

    value: Any
    """What `--set`, `--config` or a flag gave, else the default."""

    given: bool
    """Whether anything gave a value."""

    meaning: str
    """The field's docstring, as one line."""


def settings_of(sections: Mapping[str, Config]) -> list[Setting]:
    """Describe every setting of the sections that a command has decoded.

    Args:
        sections: a decoded model for each section name.
    """
    return [
        setting
        for section, config in sections.items()
        for setting in described(section, type(config), config)
    ]


def described(
    section: str, config_type: type[Config], config: Config | None = None
) -> list[Setting]:
    """Describe the settings of one section.

    Args:
        section: its name.
        config_type: its model; fields are described in their order.
        config: the decoded values; None: the defaults.
    """
    schemas: Json = config_type.model_json_schema().get("properties", {})
    given = {} if config is None else config.model_dump(mode="json")
    settings = []
    for key, field in config_type.model_fields.items():
        kind, choices, allowed = _kind(schemas[key])
        default = schemas[key].get("default")
        settings.append(
            Setting(
                section=section,
                key=key,
                type=kind,
                choices=choices,
                allowed=allowed,
                default=default,
                value=given.get(key, default),
                given=config is not None and key in config.model_fields_set,
                meaning=" ".join((field.description or "").split()),
            )
        )
    return settings


def declaring_class(config_type: type[Config], key: str) -> type[Config]:
    """Find the class that declares a field: the model's own, or one that it inherits from."""
    for base in config_type.__mro__:
        if issubclass(base, Config) and key in inspect.get_annotations(base):
            return base
    raise KeyError(key)


def shown(value: Any) -> str:
    """Write a value as `--set` takes it; nothing for None."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(shown(part) for part in value)}]"
    return f"{value:.12g}" if isinstance(value, float) else str(value)


def _kind(schema: Json) -> tuple[str, tuple[str, ...], str]:
    """Read type, choices and allowed values in words out of a field's JSON schema."""
    if "anyOf" in schema:
        parts = [_kind(part) for part in schema["anyOf"] if part.get("type") != "null"]
        types, choices, words = zip(*parts, strict=True)
        several = " or ".join(dict.fromkeys(types))
        return several, tuple(chain.from_iterable(choices)), " or ".join(words)
    if schema.get("type") == "array":
        kind, chosen, told = _kind(schema["items"])
        return f"list of {kind}", chosen, f"list of {told}"
    kind = _TYPES[schema["type"]]
    listed = schema.get("enum", [schema["const"]] if "const" in schema else [])
    chosen = ("true", "false") if kind == "bool" else tuple(map(shown, listed))
    if chosen:
        return kind, chosen, ", ".join(f"`{choice}`" for choice in chosen)
    limits = [
        f"{word} {shown(schema[limit])}" for limit, word in _LIMITS.items() if limit in schema
    ]
    return kind, (), ", ".join([kind, *limits])
