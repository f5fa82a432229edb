"""The shape of the house: ten floors, imports that go down only, modules of a readable size."""

import ast
from pathlib import Path

import pytest

import recxfer

PACKAGE = Path(recxfer.__file__).parent
FLOORS = [
    "foundation",
    "data",
    "preparing",
    "models",
    "methods",
    "runs",
    "evaluation",
    "training",
    "commands",
    "cli",
]
"""From the ground up."""

BESIDE = {"testing"}
"""Stands beside the tower: imports from all floors, and none of them imports it."""

MODULES = sorted(path.relative_to(PACKAGE) for path in PACKAGE.rglob("*.py"))
SHAPELESS = {"utils", "util", "helpers", "helper", "common", "misc", "core", "base"}
LONGEST = 400


def imported(source):
    """Dotted names of everything a module imports, inside functions too."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def floor_of(name):
    """The height of `recxfer.<floor>...`, or None for what is on no floor."""
    top, _, rest = name.partition(".")
    floor = rest.partition(".")[0]
    return FLOORS.index(floor) if top == "recxfer" and floor in FLOORS else None


def test_the_package_holds_ten_floors_and_what_stands_beside_them():
    found = {path.name for path in PACKAGE.iterdir() if path.name != "__pycache__"}
    assert found == {*FLOORS, *BESIDE, "__init__.py", "__main__.py", "py.typed"}


@pytest.mark.parametrize("module", [m for m in MODULES if m.parts[0] in FLOORS], ids=str)
def test_imports_go_down_only(module):
    own = FLOORS.index(module.parts[0])
    for name in imported((PACKAGE / module).read_text()):
        assert name.split(".")[:2] not in [["recxfer", room] for room in BESIDE]
        height = floor_of(name)
        assert height is None or height <= own, f"{module} imports {name}, which is above it"


def test_a_forbidden_import_would_be_found():
    names = set(imported("def f():\n    from recxfer.cli import app\nimport recxfer.data.rows\n"))
    assert {floor_of(name) for name in names} == {FLOORS.index("cli"), FLOORS.index("data")}


@pytest.mark.parametrize("module", MODULES, ids=str)
def test_modules_have_a_subject_and_a_readable_size(module):
    assert module.stem not in SHAPELESS
    source = (PACKAGE / module).read_text()
    assert source.count("\n") <= LONGEST
    assert ast.get_docstring(ast.parse(source))


def test_commands_and_their_surroundings_correspond():
    commands = {path.stem for path in (PACKAGE / "cli" / "tables").glob("[!_]*.py")}
    assert commands == {"prepare", "pretrain", "transfer", "evaluate", "export"}
    for name in commands:
        assert (PACKAGE / "commands" / f"{name}.py").exists()
        assert (PACKAGE / "cli" / f"{name}.py").exists()
