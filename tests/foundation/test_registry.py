"""Tables of components: names checked, targets imported late."""

import pytest

from recxfer.evaluation.metrics import METRICS
from recxfer.evaluation.slices import SLICERS
from recxfer.foundation.errors import UsageError
from recxfer.foundation.registry import Entry, Table, suggestion
from recxfer.foundation.reporting import REPORTERS
from recxfer.methods import METHODS, OBJECTIVES
from recxfer.models import BACKBONES
from recxfer.preparing.sources import SOURCES

TABLES = [SOURCES, BACKBONES, OBJECTIVES, METHODS, METRICS, SLICERS, REPORTERS]


def test_an_entry_is_imported_when_asked_for():
    table = Table("thing", [Entry("ordered-dict", "a map", "collections:OrderedDict")])
    assert table.names == ["ordered-dict"]
    assert "ordered-dict" in table
    assert table.resolve("ordered-dict") is __import__("collections").OrderedDict


def test_an_unknown_name_comes_with_what_there_is():
    with pytest.raises(UsageError, match="unknown method 'petrrec'; there are peterrec") as caught:
        METHODS.resolve("petrrec")
    assert caught.value.hint == "did you mean 'peterrec'?"


@pytest.mark.parametrize("name", ["PeterRec", "peter_rec", "peter rec", "-peter", "peter--rec", ""])
def test_names_are_lower_case_with_hyphens(name):
    with pytest.raises(ValueError, match="is not spelled as"):
        Table("method", [Entry(name, "", "x:Y")])


def test_names_are_unique():
    entry = Entry("twice", "", "x:Y")
    with pytest.raises(ValueError, match="listed twice"):
        Table("method", [entry, entry])


def test_a_far_word_suggests_nothing():
    assert suggestion("zzz", ["peterrec", "probe"]) is None


@pytest.mark.parametrize("table, name", [(table, name) for table in TABLES for name in table.names])
def test_every_line_of_every_table_resolves(table, name):
    assert table.resolve(name).__doc__
    summary = table.entry(name).summary
    assert summary
    assert not summary.endswith(".")
