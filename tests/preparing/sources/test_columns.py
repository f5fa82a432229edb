"""Which raw column is which."""

import polars as pl
import pytest

from recxfer.foundation.errors import DataError, UsageError
from recxfer.preparing.sources.columns import (
    EVENT_ROLES,
    ITEM_ROLE,
    USER_ROLE,
    by_position,
    find_columns,
    parse_columns,
    time_candidates,
)


def find(names, told=None):
    return find_columns(names, EVENT_ROLES, (USER_ROLE, ITEM_ROLE), told or {}, "log.csv")


@pytest.mark.parametrize(
    "names, expected",
    [
        (["user_id", "item_id", "timestamp"], ["user_id", "item_id", "timestamp"]),
        (["userId", "movieId", "rating", "timestamp"], ["userId", "movieId", "timestamp"]),
        (["reviewerID", "asin", "overall", "unixReviewTime"], ["reviewerID", "asin", None]),
        (["uid", "iid", "ts"], ["uid", "iid", "ts"]),
        (["USER ID", "Product-Id", "Date"], ["USER ID", "Product-Id", "Date"]),
    ],
)
def test_usual_names_are_found(names, expected):
    found = find(names)
    assert found["user_id"] == expected[0]
    assert found["item_id"] == expected[1]
    if expected[2]:
        assert found["timestamp"] == expected[2]


def test_rating_is_a_weight_and_action_an_event_type():
    found = find(["user", "item", "rating", "action"])
    assert (found["weight"], found["event"]) == ("rating", "action")


def test_the_canonical_name_wins_over_others():
    assert find(["uid", "user_id", "item", "item_id"]) == {
        "user_id": "user_id",
        "item_id": "item_id",
    }


def test_a_user_wins_over_a_session():
    assert find(["session_id", "user", "item"])["user_id"] == "user"
    assert find(["session_id", "item"])["user_id"] == "session_id"


def test_two_candidates_are_an_error_that_says_how_to_choose():
    with pytest.raises(DataError, match="several columns that look like the item") as caught:
        find(["user", "asin", "movieId"])
    assert "--columns item=asin" in str(caught.value.hint)
    assert find(["user", "asin", "movieId"], {"item": "movieId"})["item_id"] == "movieId"


def test_a_missing_column_lists_those_that_are_there():
    with pytest.raises(DataError, match=r"log.csv .*looks like the item: user, when"):
        find(["user", "when"])


def test_a_told_column_that_is_not_there_gets_a_suggestion():
    with pytest.raises(DataError, match="no column 'buyer'") as caught:
        find(["buyers", "item"], {"user": "buyer"})
    assert "buyers" in str(caught.value.hint)


def test_an_empty_name_leaves_a_role_out():
    told = parse_columns("weight=,user=u")
    assert "weight" not in find(["u", "item", "rating"], told)


@pytest.mark.parametrize("text", ["user", "usr=a", "user=a,user=b", "=a"])
def test_columns_that_cannot_be_read(text):
    with pytest.raises(UsageError):
        parse_columns(text)


def test_columns_that_may_be_the_time():
    schema = pl.Schema({"u": pl.String, "seen": pl.Date, "Played-Date": pl.String, "n": pl.Int64})
    assert time_candidates(schema) == ["seen", "Played-Date"]


@pytest.mark.parametrize(
    "text", ["user=kunde,item=kunde", "user=1,item=2,time=1", "text=a,image=a"]
)
def test_one_column_for_two_roles_is_refused(text):
    with pytest.raises(UsageError, match="two roles"):
        parse_columns(text)


def test_columns_of_different_tables_may_have_one_name():
    parse_columns("item=title,text=title,time=,weight=")


def test_a_told_column_gets_no_other_role():
    assert find(["item_id", "iid"], {"user": "item_id"}) == {"user_id": "item_id", "item_id": "iid"}
    with pytest.raises(DataError, match="looks like the item"):
        find(["asin", "rating"], {"user": "asin"})


def test_positions_tell_that_there_is_no_header():
    assert by_position(parse_columns("user=1,item=2,time=4"))
    assert not by_position(parse_columns("user=1,item=asin"))
    assert by_position(parse_columns("user=1,item=2,weight="))
    assert not by_position(parse_columns("time="))
    assert not by_position({})
