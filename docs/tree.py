"""Write the tree of the package in a page from the docstrings of its modules.

    python docs/tree.py

The tree stands between `<!-- tree -->` and `<!-- /tree -->`, a line for each module: its name and
the first sentence of its docstring.
"""

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

PAGE: Final = Path(__file__).parent / "design" / "architecture.md"
PACKAGE: Final = Path(__file__).parents[1] / "recxfer"
MARKED: Final = re.compile(r"(<!-- tree -->\n).*?(<!-- /tree -->)", re.DOTALL)
TOWER: Final = (
    "cli",
    "commands",
    "training",
    "evaluation",
    "runs",
    "methods",
    "models",
    "preparing",
    "data",
    "foundation",
    "testing",
)
"""From the roof down, and what is beside the tower; `tests/test_floors.py` has the same floors."""

INDENT: Final = 2
COLUMN: Final = 28


def written(text: str) -> str:
    """Return a page's text with the tree as the docstrings have it."""
    lines = "\n".join(lines_of(PACKAGE))
    return MARKED.sub(lambda found: f"{found[1]}\n```text\n{lines}\n```\n\n{found[2]}", text)


def lines_of(package: Path) -> Iterator[str]:
    """Yield a line for each folder and module of the package, floor by floor."""
    yield _line(0, f"{package.name}/", _purpose(package / "__init__.py"))
    for floor in TOWER:
        yield from _folder(package / floor, 1)


def _folder(folder: Path, depth: int) -> Iterator[str]:
    yield _line(depth, f"{folder.name}/", _purpose(folder / "__init__.py"))
    for module in sorted(folder.glob("[!_]*.py")):
        yield _line(depth + 1, module.name, _purpose(module))
    for inner in sorted(path for path in folder.iterdir() if (path / "__init__.py").exists()):
        yield from _folder(inner, depth + 1)


def _line(depth: int, name: str, purpose: str) -> str:
    return f"{' ' * INDENT * depth + name:<{COLUMN}}  {purpose}"


def _purpose(module: Path) -> str:
    """Return the first sentence of a module's docstring, without its full stop."""
    text = ast.get_docstring(ast.parse(module.read_text(encoding="utf-8")))
    assert text is not None, f"{module} has no docstring"
    paragraph = " ".join(text.partition("\n\n")[0].split())
    return re.split(r"(?<=[^.])\. (?=[A-Z])", paragraph)[0].removesuffix(".")


def main() -> None:
    """Write the page, and name it if it changed."""
    text = PAGE.read_text(encoding="utf-8")
    if (now := written(text)) != text:
        PAGE.write_text(now, encoding="utf-8")
        sys.stdout.write(f"{PAGE.relative_to(PAGE.parents[1])}\n")


if __name__ == "__main__":
    main()
