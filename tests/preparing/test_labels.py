"""Label columns and the order of their classes."""

import polars as pl

from recxfer.data.schema import MAX_CLASSES
from recxfer.preparing.labels import class_names, label_columns


def classes(values, dtype=None):
    labels, _ = label_columns(pl.DataFrame({"label": pl.Series(values, dtype=dtype)}))
    return class_names(labels["label"])


def test_text_is_ordered_as_text():
    assert classes(["m", "f", "m"]) == ("f", "m")


def test_numbers_are_ordered_as_numbers():
    assert classes(["10", "9", "1"]) == ("1", "9", "10")
    assert classes([10, 9, 1]) == ("1", "9", "10")


def test_whole_numbers_held_as_floats_lose_the_point():
    assert classes([25.0, 1.0, None]) == ("1", "25")


def test_truth_values_are_two_classes():
    assert classes([True, False]) == ("false", "true")


def test_an_enum_keeps_its_order():
    assert classes(["old", "young"], pl.Enum(["young", "old"])) == ("young", "old")


def test_empty_text_is_unknown():
    labels, _ = label_columns(pl.DataFrame({"label": ["a", "", " ", "b", None]}))
    assert labels["label"].null_count() == 3


def test_columns_that_are_no_labels_are_refused_with_a_reason():
    frame = pl.DataFrame(
        {
            "zip": [str(number) for number in range(MAX_CLASSES + 1)],
            "constant": "x",
            "nested": [[1]] * (MAX_CLASSES + 1),
            "fine": ["a"] * MAX_CLASSES + ["b"],
        }
    )
    labels, refused = label_columns(frame)
    assert labels.columns == ["fine"]
    assert refused.keys() == {"zip", "constant", "nested"}
    assert "1,001 classes" in refused["zip"]
