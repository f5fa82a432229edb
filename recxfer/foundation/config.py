"""Settings: defaults in typed models < `--config run.toml` < `--set key=value` < explicit flags.

A command knows sections (`[objective]`, `[optim]`, ...), each decoded by a model of its own. All
problems of all sections are reported together, each with where it came from.
"""

import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

from pydantic import BaseModel, ConfigDict, ValidationError

from recxfer.foundation.errors import ConfigError
from recxfer.foundation.registry import Table, suggestion

NAME = "name"
"""The key that chooses a component: `[objective] name = "cloze"`."""

NAMED_SECTIONS = frozenset({"objective", "backbone", "method"})
"""Sections of a component that is chosen by name; their other keys depend on the choice."""


class Config(BaseModel):
    """Base of all settings: frozen, unknown keys refused, a docstring under each field."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", use_attribute_docstrings=True, validate_default=True
    )


class Configured(Protocol):
    """A class of components that has settings."""

    @property
    def config_type(self) -> type[Config]:
        """Type of its settings."""
        ...


@dataclass(frozen=True, slots=True)
class Component:
    """A component that was chosen by name, and its table."""

    name: str
    table: Table[Configured]

    def others_with(self, key: str) -> str | None:
        """Name the others that know a key which this one does not; None if there are none."""
        known = [
            entry.name
            for entry in self.table
            if key in self.table.resolve(entry.name).config_type.model_fields
        ]
        if not known:
            return None
        do = "does" if len(known) == 1 else "do"
        return f"{self.name} does not have it; {', '.join(known)} {do}"


@dataclass(frozen=True, slots=True)
class _Setting:
    """One value that a user gave."""

    section: str | None
    """None where the user named no section."""

    key: str
    value: Any
    origin: str
    """For messages: the file's name, or `--set`."""

    text: str | None = None
    """What was typed, where `value` is only one reading of it."""


@dataclass(frozen=True, slots=True)
class Settings:
    """Settings of a user, from a file and the command line, lowest precedence first."""

    given: tuple[_Setting, ...] = field(default=())

    @classmethod
    def read(cls, file: Path | None = None, assignments: Sequence[str] = ()) -> "Settings":
        """Read a TOML file and `key=value` or `section.key=value` assignments.

        Raises:
            ConfigError: the file is missing or no TOML, or an assignment has no `=`.
        """
        return cls((*_from_file(file), *(_from_assignment(text) for text in assignments)))

    def name(self, section: str, explicit: str | None, default: str) -> str:
        """Return the component that a section chooses: flag, else `section.name`, else default."""
        if explicit is not None:
            return explicit
        chosen = [s.value for s in self.given if s.section == section and _names_component(s)]
        return str(chosen[-1]) if chosen else default

    def renamed(self, section: str, to: str) -> "Settings":
        """Move the settings of one section to another: `[synthetic]` is `[source]`."""
        return Settings(
            tuple(replace(s, section=to) if s.section == section else s for s in self.given)
        )

    def decode(
        self,
        sections: Mapping[str, type[Config]],
        explicit: Mapping[str, Mapping[str, Any]] | None = None,
        components: Mapping[str, Component] | None = None,
    ) -> dict[str, Config]:
        """Decode one model per section.

        Args:
            sections: the section names of this command and their models.
            explicit: values of flags by section and key; None stands for a flag not given.
            components: what was chosen by name, by section: an unknown key may be another one's.

        Raises:
            ConfigError: listing every unknown key and every bad value.
        """
        problems: list[str] = []
        components = components or {}
        chosen: dict[str, dict[str, _Setting]] = {section: {} for section in sections}
        for setting in self.given:
            section = _section_of(setting, sections, components, problems)
            if section is not None and not _names_component(setting):
                chosen[section][setting.key] = setting
        for section, flags in (explicit or {}).items():
            for key, value in flags.items():
                if value is not None:
                    flag = f"--{key.replace('_', '-')}"
                    chosen[section][key] = _Setting(section, key, value, flag)
        decoded: dict[str, Config] = {}
        for section, model in sections.items():
            try:
                decoded[section] = _validate(model, chosen[section])
            except ValidationError as error:
                problems += _problems(
                    error, section, model, chosen[section], components.get(section)
                )
        if problems:
            raise ConfigError("\n".join(problems))
        return decoded


def _validate(model: type[Config], chosen: Mapping[str, _Setting]) -> Config:
    """Validate by the declared types: what fails as a number or boolean may be meant as text."""
    values = {key: setting.value for key, setting in chosen.items()}
    try:
        return model.model_validate(values)
    except ValidationError as error:
        failed = {str(detail["loc"][0]) for detail in error.errors() if detail["loc"]}
        typed = {key: chosen[key].text for key in failed & chosen.keys()}
        texts = {key: text for key, text in typed.items() if text is not None}
        try:
            return model.model_validate(values | texts)
        except ValidationError:
            raise error from None


def _from_file(file: Path | None) -> Iterator[_Setting]:
    if file is None:
        return
    try:
        tables = tomllib.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ConfigError(f"--config {file}: there is no such file") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"--config {file}: not valid TOML: {error}") from error
    for section, table in tables.items():
        if isinstance(table, dict):
            yield from (_Setting(section, key, value, file.name) for key, value in table.items())
        else:
            yield _Setting(None, section, table, file.name)


def _from_assignment(text: str) -> _Setting:
    name, equals, value = text.partition("=")
    if not equals or not name.strip():
        raise ConfigError(f"--set {text}: expected key=value, for example optim.lr=3e-4")
    section, dot, key = name.strip().partition(".")
    typed = value.strip()
    return _Setting(
        section=section if dot else None,
        key=key if dot else section,
        value=_toml_value(typed),
        origin="--set",
        text=typed,
    )


def _toml_value(text: str) -> Any:
    """Read a TOML value where the text is one (numbers, booleans, lists), else the text itself."""
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def _names_component(setting: _Setting) -> bool:
    return setting.key == NAME and setting.section in NAMED_SECTIONS


def _section_of(
    setting: _Setting,
    sections: Mapping[str, type[Config]],
    components: Mapping[str, Component],
    problems: list[str],
) -> str | None:
    """Find the section a setting belongs to; None, with a problem noted, where it has none."""
    if setting.section is not None:
        if setting.section in sections:
            return setting.section
        hint = suggestion(setting.section, list(sections))
        problems.append(
            f"{setting.section}.{setting.key} ({setting.origin}): unknown section; there are "
            f"{', '.join(sections) or 'none here'}{_and(hint)}"
        )
        return None
    owners = [name for name, model in sections.items() if setting.key in model.model_fields]
    if len(owners) == 1:
        return owners[0]
    if owners:
        choices = " or ".join(f"{owner}.{setting.key}" for owner in owners)
        problems.append(f"{setting.key} ({setting.origin}): ambiguous; write {choices}")
        return None
    elsewhere = [found for c in components.values() if (found := c.others_with(setting.key))]
    if elsewhere:
        problems.append(f"{setting.key} ({setting.origin}): {'; '.join(elsewhere)}")
        return None
    known = [key for model in sections.values() for key in model.model_fields]
    hint = suggestion(setting.key, known)
    problems.append(f"{setting.key} ({setting.origin}): unknown key{_and(hint)}")
    return None


def _problems(
    error: ValidationError,
    section: str,
    model: type[Config],
    chosen: Mapping[str, _Setting],
    component: Component | None,
) -> Iterator[str]:
    fields = list(model.model_fields)
    for detail in error.errors():
        key = str(detail["loc"][0]) if detail["loc"] else ""
        where = f"{section}.{key}" if key else section
        where += f" ({chosen[key].origin})" if key in chosen else ""
        if detail["type"] == "extra_forbidden":
            elsewhere = component.others_with(key) if component else None
            if elsewhere:
                yield f"{where}: {elsewhere}"
                continue
            there = f"there are {', '.join(fields)}" if fields else "there are none"
            yield f"{where}: unknown key; {there}{_and(suggestion(key, fields))}"
        elif key:
            yield f"{where}: {_reason(detail['msg'])}, found {detail['input']!r}"
        else:  # of several keys together; the input is all of them
            yield f"{where}: {_reason(detail['msg'])}"


def _reason(message: str) -> str:
    """Return the text of our own validators, without the library's preface."""
    return message.removeprefix("Value error, ").removeprefix("Assertion failed, ")


def _and(hint: str | None) -> str:
    return f"; {hint}" if hint else ""
