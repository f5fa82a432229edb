"""The words of the package: docstrings that say at once what a thing is or does."""

import ast
import re
from pathlib import Path

import pytest

import recxfer

PACKAGE = Path(recxfer.__file__).parent
MODULES = sorted(path.relative_to(PACKAGE) for path in PACKAGE.rglob("*.py"))
QUESTION = re.compile(r"(What|Who|Whoever|Whether|How|Where|Why)\b")
"""A property that is true or false may say whether; nothing else begins with a question."""

REFERENCE = re.compile(r"See `[\w.]+`")


def docstrings(source):
    """The docstring of a module, of its classes and functions, with their names."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
            text = ast.get_docstring(node)
            if text:
                yield getattr(node, "name", None), text


@pytest.mark.parametrize("module", MODULES, ids=str)
def test_a_module_says_what_it_is_and_asks_nothing(module):
    (text,) = (t for name, t in docstrings((PACKAGE / module).read_text()) if name is None)
    assert not QUESTION.match(text), text


@pytest.mark.parametrize("module", MODULES, ids=str)
def test_a_class_or_function_says_what_it_is_or_does(module):
    for name, text in docstrings((PACKAGE / module).read_text()):
        asks = name and not name.startswith("test_") and QUESTION.match(text)
        assert not asks or asks[0] == "Whether", f"{module}: {name}: {text}"


@pytest.mark.parametrize("module", MODULES, ids=str)
def test_a_docstring_says_something_where_it_stands_and_override_the_rest(module):
    for name, text in docstrings((PACKAGE / module).read_text()):
        assert not REFERENCE.match(text), f"{module}: {name}: {text}"


def test_what_is_refused_would_be_found():
    found = dict(docstrings('"""Who decides."""\nclass A:\n    """See `B.c`."""\n'))
    assert QUESTION.match(found[None])
    assert REFERENCE.match(found["A"])
