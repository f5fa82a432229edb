"""Every command in the README and the docs is run, in a small synthetic world."""

import re
import runpy
import shlex
import shutil
from pathlib import Path

import pytest

from recxfer.evaluation.metrics import METRICS
from recxfer.evaluation.slices import SLICERS
from recxfer.methods import METHODS, OBJECTIVES
from recxfer.models import BACKBONES
from recxfer.testing.commands import recxfer

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
BLOCK = re.compile(r"^```bash\n(.*?)^```", re.MULTILINE | re.DOTALL)
PYTHON = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)
SMALL = {
    "prepare": ["--set", "users=120", "--set", "items=40", "--set", "events_per_user=12"],
    "pretrain": ["--epochs", "1", "--set", "width=8", "--set", "max_length=16"],
    "transfer": ["--epochs", "1"],
}
"""Later values win, so that these shrink whatever a page says."""


def commands_of(page):
    text = page.read_text(encoding="utf-8")
    for block in BLOCK.findall(text):
        for line in block.replace("\\\n", " ").splitlines():
            if line.startswith("recxfer "):
                yield line


def shrunk(line):
    words = [
        {"99": "9"}.get(word, "synthetic" if word.startswith("movielens-") else word)
        for word in shlex.split(line, comments=True)[1:]
    ]
    return [*words, *SMALL.get(words[0], [])]


class Beginnings:
    """What a folder holds after the first commands of a page: many pages begin alike."""

    def __init__(self, folder):
        self.folder = folder
        self.kept = {}

    def restore(self, lines, place):
        """Fill an empty folder as the longest known beginning leaves it; return its length."""
        for count in range(len(lines), 0, -1):
            if (kept := self.kept.get(tuple(lines[:count]))) is not None:
                shutil.copytree(kept, place, dirs_exist_ok=True)
                return count
        return 0

    def keep(self, lines, place):
        """Remember the folder as these commands leave it, if none does more than set the scene."""
        if all(line.split()[1] in ("prepare", "pretrain") and "|" not in line for line in lines):
            kept = self.folder / str(len(self.kept))
            self.kept[tuple(lines)] = shutil.copytree(place, kept)


@pytest.fixture(scope="module")
def beginnings(tmp_path_factory):
    return Beginnings(tmp_path_factory.mktemp("beginnings"))


@pytest.mark.parametrize(
    "page", [p for p in PAGES if any(commands_of(p))], ids=lambda p: str(p.relative_to(ROOT))
)
def test_the_commands_of_a_page_work(page, beginnings, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    lines = list(commands_of(page))
    for count in range(beginnings.restore(lines, tmp_path), len(lines)):
        piped = None
        for part in lines[count].split("|"):
            piped = recxfer(*shrunk(part.strip()), piped=piped).stdout
        beginnings.keep(lines[: count + 1], tmp_path)


@pytest.mark.parametrize(
    "folder, table", [("methods", METHODS), ("objectives", OBJECTIVES)], ids=["method", "objective"]
)
def test_every_method_and_objective_has_a_page_that_the_index_names(folder, table):
    pages = {page.stem for page in (ROOT / "docs" / folder).glob("*.md")}
    assert pages == set(table.own_names)
    index = (ROOT / "docs" / "index.md").read_text(encoding="utf-8")
    assert re.findall(rf"\[([\w-]+)\]\({folder}/\1\.md\)", index) == table.own_names


@pytest.mark.parametrize(
    "command, place, table",
    [("pretrain", 0, BACKBONES), ("pretrain", 1, OBJECTIVES), ("transfer", 0, METHODS)],
    ids=["backbone", "objective", "method"],
)
def test_the_readme_lists_what_is_there(command, place, table):
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    (cell,) = re.findall(rf"^\| `{command}` \| (.+) \|$", text, re.MULTILINE)
    assert re.findall(r"`([\w-]+)`", cell.split(";")[place]) == table.own_names


@pytest.mark.parametrize("table", [METRICS, SLICERS], ids=lambda table: table.kind)
def test_the_page_of_evaluate_describes_every_metric_and_slicer(table):
    page = (ROOT / "docs" / "commands" / "evaluate.md").read_text(encoding="utf-8")
    described = set(re.findall(r"^\| `([\w-]+)(?:@k)?` \|", page, re.MULTILINE))
    assert set(table.names) <= described


def test_tables_of_settings_are_what_the_fields_say():
    settings = runpy.run_path(str(ROOT / "docs" / "settings.py"))
    for page in settings["pages"]():
        assert settings["written"](page) == page.read_text(encoding="utf-8"), (
            f"{page.name}: run docs/settings.py"
        )


def test_every_setting_has_its_table_on_a_page():
    settings = runpy.run_path(str(ROOT / "docs" / "settings.py"))
    marked = {
        name
        for page in settings["pages"]()
        for _, name, _ in settings["MARKED"].findall(page.read_text(encoding="utf-8"))
    }
    named = {f"{kind} {name}" for kind, table in settings["TABLES"].items() for name in table.names}
    has_settings = {name for name in named if settings["config_of"](name).model_fields}
    assert has_settings | settings["SECTIONS"].keys() <= marked
    assert marked <= named | settings["SECTIONS"].keys()


def test_links_between_pages_lead_somewhere():
    for page in PAGES:
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"


def test_the_python_of_the_checkpoint_page_works(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for line in (
        "recxfer prepare synthetic data/toy",
        "recxfer pretrain data/toy runs/base",
        "recxfer export runs/base model.safetensors --what model",
    ):
        recxfer(*shrunk(line))
    page = ROOT / "docs" / "reference" / "checkpoint.md"
    names: dict[str, object] = {}
    for block in PYTHON.findall(page.read_text(encoding="utf-8")):
        exec(block, names)
    assert names["items"].shape == (40, 8)
    assert names["header"]["kind"] == "backbone"


def test_the_tree_of_the_package_is_as_the_docstrings_have_it():
    tree = runpy.run_path(str(ROOT / "docs" / "tree.py"))
    text = tree["PAGE"].read_text(encoding="utf-8")
    assert tree["written"](text) == text, "run docs/tree.py"
    named = {path.name for path in (ROOT / "recxfer").rglob("[!_]*.py")}
    assert {line.split()[0] for line in text.splitlines() if ".py  " in line} == named


def test_the_navigation_lists_every_page_once():
    _, _, nav = (ROOT / "mkdocs.yml").read_text(encoding="utf-8").partition("\nnav:\n")
    listed = re.findall(r"^ +- (?:.+: )?(\S+\.md)$", nav, re.MULTILINE)
    pages = (path.relative_to(ROOT / "docs").as_posix() for path in PAGES[1:])
    assert sorted(listed) == sorted(pages)
