"""Show every setting of what was chosen, for `--settings`, and do nothing else."""

import json
import sys
from collections.abc import Mapping
from copy import copy
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Final

import typer
from typer.core import TyperCommand
from typing_extensions import override

if TYPE_CHECKING:
    from recxfer.foundation.config import Config
    from recxfer.foundation.setting_docs import Setting

FLAG: Final = "--settings"

_SHOWS_SETTINGS: Final = "recxfer.shows_settings"
"""Key of a context's notes: whether arguments may be left out."""


class Command(TyperCommand):
    """A command whose arguments can be left out where only its settings are asked for."""

    @override
    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse with optional arguments first, where the flag occurs; anew if it was a value."""
        if FLAG in args:
            ctx.meta[_SHOWS_SETTINGS] = True
            rest = super().parse_args(ctx, list(args))
            if ctx.params["settings"]:
                return rest
            ctx.meta[_SHOWS_SETTINGS] = False
            ctx.params.clear()
        return super().parse_args(ctx, args)

    @override
    def get_params(self, ctx: Any) -> list[Any]:
        """List the parameters; an argument that can be left out is its own name then."""
        params: list[Any] = super().get_params(ctx)
        if not ctx.meta.get(_SHOWS_SETTINGS):
            return params
        return [_optional(p) if p.param_type_name == "argument" else p for p in params]


def show(command: str, sections: Mapping[str, "Config"], *, as_json: bool) -> None:
    """Print the settings of decoded sections: a table, or one JSON object.

    Args:
        command: the subcommand's name.
        sections: decoded models by section name; empty where the command has no settings.
        as_json: whether stdout is one JSON object.
    """
    from recxfer.foundation.setting_docs import settings_of

    settings = settings_of(sections)
    if as_json:
        facts = {"command": command, "settings": [asdict(setting) for setting in settings]}
        typer.echo(json.dumps(facts))
        return
    if not settings:
        typer.echo(f"recxfer {command} has no settings: its options are all there is")
        return
    _draw(settings)


def _optional(argument: Any) -> Any:
    optional = copy(argument)
    optional.required = False
    optional.default = [argument.metavar] if argument.nargs == -1 else argument.metavar
    return optional


def _draw(settings: list["Setting"]) -> None:
    from rich.table import Table
    from rich.text import Text

    from recxfer.cli.tables import console_on
    from recxfer.foundation.setting_docs import shown

    table = Table("setting", "values", "default", "given", "meaning")
    for place, setting in enumerate(settings):
        if place and settings[place - 1].section != setting.section:
            table.add_section()
        cells = (
            f"{setting.section}.{setting.key}",
            setting.allowed,
            shown(setting.default),
            shown(setting.value) if setting.given else "",
            setting.meaning,
        )
        # Text: brackets of lists are no markup.
        table.add_row(*map(Text, cells), style="bold" if setting.given else None)
    console_on(sys.stdout).print(table)
