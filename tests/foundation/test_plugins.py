"""Lines that other distributions add to a table."""

import sys

import pytest

from recxfer.foundation.errors import UsageError
from recxfer.foundation.plugins import PluginWarning, plugin_warnings_to
from recxfer.foundation.registry import Entry, Table

GROUP = "recxfer.things"
CONTRACT = "recxfer.foundation.errors:RecxferError"

MODULE = '''
from abc import abstractmethod
from recxfer.foundation.errors import RecxferError
class Fine(RecxferError):
    """Do something new.

    And more.
    """
class Other: pass
class Unfinished(RecxferError):
    __abstractmethods__ = frozenset({"answer"})
'''


@pytest.fixture
def things(install, monkeypatch):
    """A table of one line, and a way to fill its group with the entry points of `recxfer-x`."""

    def make(*lines, **modules):
        site = install("recxfer-x", "1.2", f"[{GROUP}]\n" + "\n".join(lines), **modules)
        monkeypatch.syspath_prepend(site)
        for module in modules:
            monkeypatch.delitem(sys.modules, module, raising=False)
        return table()

    return make


def table():
    own = Entry("own", "what is here", "recxfer.foundation.errors:DataError")
    return Table("thing", [own], group=GROUP, contract=CONTRACT)


def told(work):
    """What a piece of work warns of, and what it returns."""
    messages = []
    with plugin_warnings_to(messages.append):
        return messages, work()


def test_a_plug_in_stands_behind_the_table_s_own_lines(things):
    found = things("new-thing = x_fine:Fine", x_fine=MODULE)
    assert found.own_names == ["own"]
    assert found.names == ["own", "new-thing"]
    assert "new-thing" in found
    assert "x_fine" not in sys.modules, "names are known without importing"
    assert found.resolve("new-thing") is sys.modules["x_fine"].Fine
    assert list(found)[1] == Entry("new-thing", "Do something new (recxfer-x 1.2)", "x_fine:Fine")
    assert found.distribution("new-thing") == ("recxfer-x", "1.2")
    assert found.distribution("own") is None


def test_without_a_group_there_are_no_plug_ins(things):
    things("new-thing = x_fine:Fine", x_fine=MODULE)
    assert Table("thing", []).names == []


@pytest.mark.parametrize(
    "target, problem",
    [
        ("x_gone:Fine", "ModuleNotFoundError: No module named 'x_gone'"),
        ("x_fine:Missing", "AttributeError: module 'x_fine' has no attribute 'Missing'"),
        ("x_raises:Fine", "RuntimeError: over two lines"),
        ("x_fine:Other", "it does not derive from recxfer.foundation.errors.RecxferError"),
        ("x_fine:Unfinished", "it does not answer answer"),
    ],
)
def test_a_broken_plug_in_is_a_warning_in_lists_and_an_error_by_name(things, target, problem):
    found = things(
        f"broken = {target}",
        "fine = x_fine:Fine",
        x_fine=MODULE,
        x_raises='raise RuntimeError("over\\ntwo lines")',
    )
    message = f"thing 'broken' of plug-in recxfer-x 1.2 cannot be loaded: {problem}"
    messages, entries = told(lambda: list(found))
    assert messages == [message]
    assert [entry.name for entry in entries] == ["own", "fine"]
    assert told(lambda: list(found))[0] == [], "told once"
    with pytest.raises(UsageError) as caught:
        found.resolve("broken")
    assert caught.value.message == message
    assert caught.value.hint == "update or uninstall recxfer-x"
    assert found.resolve("fine")


@pytest.mark.parametrize(
    "name, reason",
    [("own", "there is one of that name in recxfer"), ("Own_1", "the name is not spelled as")],
)
def test_a_name_that_is_taken_or_wrong_is_a_warning(things, name, reason):
    found = things(f"{name} = x_fine:Fine", "fine = x_fine:Fine", x_fine=MODULE)
    (message,), names = told(lambda: found.names)
    assert message.startswith(f"thing {name!r} of plug-in recxfer-x 1.2 is left out: {reason}")
    assert names == ["own", "fine"]
    assert found.resolve("own").__name__ == "DataError"
    assert found.distribution("own") is None


def test_of_two_plug_ins_with_one_name_the_first_distribution_has_it(things, install):
    found = things("twice = x_fine:Fine", x_fine=MODULE)
    install("recxfer-a", "3", f"[{GROUP}]\ntwice = a_fine:Fine", a_fine=MODULE)
    (message,), _ = told(lambda: found.names)
    assert (
        "of plug-in recxfer-x 1.2 is left out: there is one of that name in recxfer-a 3" in message
    )
    assert found.distribution("twice") == ("recxfer-a", "3")


def test_damaged_metadata_of_anyone_leaves_the_own_lines(things):
    found = things("no entry point at all")
    (message,), names = told(lambda: found.names)
    assert message.startswith("no plug-ins are read")
    assert names == ["own"]


def test_who_calls_from_python_gets_python_s_warnings(things):
    found = things("own = x_fine:Fine", x_fine=MODULE)
    with pytest.warns(PluginWarning, match="is left out"):
        assert found.names == ["own"]
