"""Raw files: one log in many formats is one log."""

import gzip
import json
from pathlib import Path

import polars as pl
import pytest

from recxfer.foundation.errors import DataError
from recxfer.preparing.sources.choice import choose
from recxfer.preparing.sources.contract import Request
from recxfer.preparing.sources.side_tables import with_side_tables

ROWS = [("007", "23464-3016", 978300760, 5), ("b", 'say "hi"', 978302109, 3), ("c", "x", 1, 4)]
NAMES = ("user_id", "item_id", "timestamp", "rating")


def text(separator, *, header=True, quote=True):
    lines = [separator.join(NAMES)] if header else []
    for row in ROWS:
        fields = [
            '"' + str(field).replace('"', '""') + '"' if quote and '"' in str(field) else str(field)
            for field in row
        ]
        lines.append(separator.join(fields))
    return ("\n".join(lines) + "\n").encode()


def as_json_lines():
    return "".join(json.dumps(dict(zip(NAMES, row, strict=True))) + "\n" for row in ROWS).encode()


def as_atomic():
    header = "user_id:token\titem_id:token\ttimestamp:float\trating:float\n"
    return header.encode() + text("\t", header=False, quote=False)


def read_path(source, columns):
    """What `prepare SOURCE` reads."""
    choice = choose(source, columns)
    request = Request(directory=Path("unused"), path=choice.path, columns=columns)
    return choice.source(choice.source.config_type()).read(request)


def zstd(data):
    import pyarrow as pa

    sink = pa.BufferOutputStream()
    with pa.CompressedOutputStream(sink, "zstd") as stream:
        stream.write(data)
    return sink.getvalue().to_pybytes()


FILES = {
    "log.csv": text(","),
    "log.tsv": text("\t"),
    "semicolon.csv": text(";"),
    "bar.txt": text("|"),
    "double.dat": text("::", quote=False),
    "log.csv.gz": gzip.compress(text(",")),
    "log.csv.zst": zstd(text(",")),
    "double.dat.gz": gzip.compress(text("::", quote=False)),
    "log.jsonl": as_json_lines(),
    "log.jsonl.gz": gzip.compress(as_json_lines()),
    "log.ndjson.zst": zstd(as_json_lines()),
    "log.inter": as_atomic(),
    "windows.csv": b"\xef\xbb\xbf" + text(",").replace(b"\n", b"\r\n"),
}


def rows_of(source):
    frame = source.interactions.select(
        "user_id", "item_id", pl.col("timestamp").cast(pl.Int64), pl.col("weight").cast(pl.Int64)
    )
    return frame.collect().rows()


@pytest.mark.parametrize("name", FILES)
def test_every_text_format_gives_the_same_rows(tmp_path, name):
    (tmp_path / name).write_bytes(FILES[name])
    source = read_path(str(tmp_path / name), {})
    assert rows_of(source) == ROWS
    assert source.name == name
    assert [file.name for file in source.files] == [name]


def test_parquet_keeps_its_types(tmp_path):
    path = tmp_path / "log.parquet"
    pl.DataFrame(ROWS, schema=NAMES, orient="row").write_parquet(path)
    assert rows_of(read_path(str(path), {})) == ROWS


def test_folder_and_glob_are_read_in_the_order_of_names(tmp_path):
    for number, row in enumerate(ROWS):
        part = pl.DataFrame([row], schema=NAMES, orient="row")
        part.write_csv(tmp_path / f"part-{number}.csv")
    (tmp_path / ".hidden.csv").write_text("x")
    assert rows_of(read_path(str(tmp_path), {})) == ROWS
    assert rows_of(read_path(str(tmp_path / "part-*.csv"), {})) == ROWS


def test_columns_by_position_mean_no_header(tmp_path):
    path = tmp_path / "ratings.csv"
    path.write_bytes(text(",", header=False))
    told = {"user": "1", "item": "2", "time": "3", "weight": "4"}
    assert rows_of(read_path(str(path), told)) == ROWS


def test_double_colons_without_header(tmp_path):
    path = tmp_path / "ratings.dat"
    path.write_bytes(text("::", header=False, quote=False))
    told = {"user": "1", "item": "2", "time": "3", "weight": "4"}
    assert rows_of(read_path(str(path), told)) == ROWS


def test_raw_columns_stay_for_conditions_and_numbers_are_numbers(tmp_path):
    path = tmp_path / "log.csv"
    path.write_text("user,item,rating,zip,note\na,x,4,01234,hi\nb,y,3.5,99,\n")
    schema = read_path(str(path), {}).interactions.collect_schema()
    assert schema["rating"] == pl.Float64
    assert schema["zip"] == pl.String
    assert schema["note"] == pl.String


def test_atomic_files_bring_their_side_tables(tmp_path):
    (tmp_path / "toy.inter").write_bytes(as_atomic())
    (tmp_path / "toy.item").write_text("item_id:token\tmovie_title:token_seq\nx\tThe X\n")
    (tmp_path / "toy.user").write_text("user_id:token\tage:float\tzip_code:token\nb\t25\t00123\n")
    source = read_path(str(tmp_path), {})
    assert source.items.collect().rows(named=True) == [{"item_id": "x", "text": "The X"}]
    assert source.users.collect().rows() == [("b", "25", "00123")]
    assert [file.name for file in source.files] == ["toy.inter", "toy.item", "toy.user"]


def test_an_atomic_item_file_without_text_is_no_item_table(tmp_path):
    (tmp_path / "toy.inter").write_bytes(as_atomic())
    (tmp_path / "toy.item").write_text("item_id:token\tprice:float\nx\t3\n")
    assert read_path(str(tmp_path / "toy.inter"), {}).items is None


def side_tables(tmp_path, *, items=None, users=None, columns=None):
    (tmp_path / "log.csv").write_bytes(text(","))
    source = read_path(str(tmp_path / "log.csv"), {})
    return with_side_tables(source, items, users, columns=columns or {})


def test_side_tables_of_ones_own(tmp_path):
    items, users = tmp_path / "items.csv", tmp_path / "users.csv"
    items.write_text("asin,title,image\nx,An x,pics/x.jpg\n")
    users.write_text("uid,age\nb,25\n")
    source = side_tables(tmp_path, items=items, users=users)
    (row,) = source.items.collect().rows(named=True)
    assert row["text"] == "An x"
    assert row["image"] == str(tmp_path / "pics/x.jpg")
    assert source.users.collect().columns == ["user_id", "age"]


def test_the_text_column_can_be_told(tmp_path):
    items = tmp_path / "items.csv"
    items.write_text("item,name,title\nx,short,long\n")
    with pytest.raises(DataError, match="several columns that look like the text"):
        side_tables(tmp_path, items=items)
    source = side_tables(tmp_path, items=items, columns={"text": "name", "item": "item_id"})
    assert source.items.collect()["text"].to_list() == ["short"]
    with pytest.raises(DataError, match="no column 'label'"):
        side_tables(tmp_path, items=items, columns={"text": "label"})


@pytest.mark.parametrize(
    "header, key",
    [
        ("age,buyer,user", "buyer"),
        ("age,other,user", "user"),
        ("age,other,person", "person"),
        ("uid,user,other", "user"),
    ],
)
def test_the_ids_of_a_user_table_may_have_a_name_of_their_own(tmp_path, header, key):
    log, users = tmp_path / "log.csv", tmp_path / "users.csv"
    log.write_text("buyer,item\n1,x\n2,y\n3,x\n4,x\n")
    place = header.split(",").index(key)
    rows = [["1", "one", "two"] for _ in range(4)]
    for number, row in enumerate(rows):
        row[place] = str(number + 2)  # three of four are in the log; the column of ones repeats
    users.write_text("\n".join([header, *(",".join(row) for row in rows)]) + "\n")
    told = {"user": "buyer"}
    source = with_side_tables(read_path(str(log), told), None, users, columns=told)
    assert source.users.collect()["user_id"].to_list() == ["2", "3", "4", "5"]


def test_a_side_table_without_ids_says_what_helps(tmp_path):
    users = tmp_path / "users.csv"
    users.write_text("person,age\nq,25\nr,30\n")
    with pytest.raises(DataError, match=r"holds the ids of log\.csv") as caught:
        side_tables(tmp_path, users=users)
    assert caught.value.hint == "rename the column of its ids to user_id"
    users.write_text("uid,user,age\nq,s,25\nr,t,30\n")
    with pytest.raises(DataError, match="several columns that look like the user: uid, user"):
        side_tables(tmp_path, users=users)


def test_an_item_table_must_describe(tmp_path):
    items = tmp_path / "items.csv"
    items.write_text("item,price\nx,3\n")
    with pytest.raises(DataError, match="text or an image"):
        side_tables(tmp_path, items=items)


def test_a_folder_of_different_tables_is_refused(tmp_path):
    (tmp_path / "a.csv").write_text("user,item\na,x\n")
    (tmp_path / "b.csv").write_text("item,text\nx,X\n")
    with pytest.raises(DataError, match=r"b\.csv has columns item, text; a\.csv has user, item"):
        read_path(str(tmp_path), {})


def test_a_folder_of_several_formats_is_refused(tmp_path):
    (tmp_path / "a.csv").write_text("user,item\na,x\n")
    (tmp_path / "b.jsonl").write_text('{"user": "a", "item": "x"}\n')
    with pytest.raises(DataError, match="mixes formats: delimited, jsonl"):
        read_path(str(tmp_path), {})


@pytest.mark.parametrize(
    "name, data, message",
    [
        ("empty.csv", b"", "is empty"),
        ("one.csv", b"user\na\nb\n", "one column only"),
        ("cut.csv.gz", gzip.compress(text(",") * 1000, mtime=0)[:60], "cannot be read"),
        ("cut.parquet", b"PAR1" + b"\0" * 100, "cannot be read"),
        ("not.csv.gz", b"\x1f\x8bnonsense", "cannot be read"),
        ("broken.jsonl", b'{"user": 1, "item": 2}\n{"user":\n', "cannot be read"),
        ("headless.csv", b"1,2,3\n4,5,6\n", "no column that looks like the user"),
        ("archive.zip", b"PK\x05\x06" + b"\0" * 18, "is a zip"),
    ],
)
def test_files_that_cannot_be_read(tmp_path, name, data, message):
    (tmp_path / name).write_bytes(data)
    with pytest.raises(DataError, match=message) as caught:
        read_path(str(tmp_path / name), {}).interactions.collect()
    assert name in str(caught.value)


def test_a_missing_file_and_an_empty_folder(tmp_path):
    with pytest.raises(DataError, match="does not exist"):
        read_path(str(tmp_path / "log.csv"), {})
    with pytest.raises(DataError, match="does not exist"):
        read_path(str(tmp_path / "*.csv"), {})
    with pytest.raises(DataError, match="holds no file that is delimited"):
        read_path(str(tmp_path), {})
