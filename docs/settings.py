"""Write the tables of settings in the pages from the fields of the configs.

    python docs/settings.py

A page says where a table goes, and the table is replaced by what the fields say today:

    <!-- settings: method lora -->
    <!-- /settings -->
"""

import os
import re
import sys
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from typing import Any

from recxfer.commands.pretrain_config import PretrainData
from recxfer.commands.transfer_config import TransferData, TransferOptim
from recxfer.foundation.config import Config
from recxfer.foundation.registry import Table
from recxfer.foundation.setting_docs import Setting, declaring_class, described, shown
from recxfer.methods import METHODS, OBJECTIVES
from recxfer.methods.supervised import SupervisedConfig
from recxfer.methods.transrec import ContentLossConfig
from recxfer.models import BACKBONES
from recxfer.models.losses.item_loss import ItemLossConfig
from recxfer.preparing.pipeline import Recipe
from recxfer.preparing.sources import SOURCES
from recxfer.training.optim import OptimConfig

DOCS = Path(__file__).parent

TABLES: dict[str, Table[Any]] = {
    "method": METHODS,
    "objective": OBJECTIVES,
    "backbone": BACKBONES,
    "source": SOURCES,
}
"""Components that are chosen by name; a marker names the kind and the component."""

SECTIONS: dict[str, type[Config]] = {
    "prepare": Recipe,
    "pretrain optim": OptimConfig,
    "pretrain data": PretrainData,
    "transfer optim": TransferOptim,
    "transfer data": TransferData,
    "losses over items": ItemLossConfig,
    "read-out": SupervisedConfig,
    "losses by content": ContentLossConfig,
}
"""Everything else that a marker can name."""

SHARED: dict[type[Config], tuple[str, str]] = {
    ItemLossConfig: ("losses over items", "commands/pretrain.md#losses-over-items"),
    SupervisedConfig: ("read-out", "commands/transfer.md#read-out"),
    ContentLossConfig: ("losses", "objectives/transrec.md#losses"),
}
"""Settings that many components inherit: where they have their table; others only name them."""

MARKED = re.compile(r"(<!-- settings: (.+?) -->\n).*?(<!-- /settings -->)", re.DOTALL)


def written(page: Path) -> str:
    """Return a page's text with every table as the fields have it."""

    def table(found: re.Match[str]) -> str:
        lines = "\n".join(lines_of(found[2], page))
        return f"{found[1]}\n{lines}\n\n{found[3]}"

    return MARKED.sub(table, page.read_text(encoding="utf-8"))


def lines_of(name: str, page: Path) -> Iterator[str]:
    """Yield the lines of one table, and what the component shares with others."""
    config_type = config_of(name)
    settings = described("", config_type)
    own = [s for s in settings if home(config_type, s) is None]
    if own:
        yield "| setting | values | default | |"
        yield "| --- | --- | --- | --- |"
        for setting in own:
            default = shown(setting.default)
            cells = (
                f"`{setting.key}`",
                setting.allowed,
                f"`{default}`" if default else "",
                setting.meaning,
            )
            yield f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"
    rest = [s for s in settings if s not in own]
    if rest:
        if own:
            yield ""
        parts = []
        for place, group in groupby(rest, lambda s: home(config_type, s)):
            assert place is not None
            title, target = place
            keys = ", ".join(f"`{s.key}` (`{shown(s.default)}`)" for s in group)
            parts.append(f"{keys}: see [{title}]({relative(target, page)})")
        yield f"{'Besides' if own else 'Settings'}, with their defaults: {'; '.join(parts)}."
    if not settings:
        yield "There are no settings."


def config_of(name: str) -> type[Config]:
    """Find the config that a marker names."""
    if name in SECTIONS:
        return SECTIONS[name]
    kind, _, component = name.partition(" ")
    config_type: type[Config] = TABLES[kind].resolve(component).config_type
    return config_type


def home(config_type: type[Config], setting: Setting) -> tuple[str, str] | None:
    """Say where a setting that is shared has its table; None: where the component has its own."""
    owner = declaring_class(config_type, setting.key)
    return None if owner is config_type else SHARED.get(owner)


def relative(target: str, page: Path) -> str:
    """Write a link from a page to another; within one page, to the heading alone."""
    path, _, anchor = target.partition("#")
    if DOCS / path == page:
        return f"#{anchor}"
    return f"{Path(os.path.relpath(DOCS / path, page.parent)).as_posix()}#{anchor}"


def pages() -> list[Path]:
    """List the pages that have such tables."""
    found = sorted(DOCS.rglob("*.md"))
    return [page for page in found if MARKED.search(page.read_text(encoding="utf-8"))]


def main() -> None:
    """Write all pages, and name those that changed."""
    for page in pages():
        text = written(page)
        if text != page.read_text(encoding="utf-8"):
            page.write_text(text, encoding="utf-8")
            sys.stdout.write(f"{page.relative_to(DOCS)}\n")


if __name__ == "__main__":
    main()
