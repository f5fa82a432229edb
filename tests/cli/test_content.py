"""Texts and images of items through the real command line: what comes in, and what is refused."""

import hashlib
import json
import struct
import sys
import zlib

import numpy as np
import polars as pl
import pytest
from PIL import Image

from recxfer.data.dataset import Dataset
from recxfer.foundation.errors import DataError
from recxfer.foundation.files import canonical_json
from recxfer.testing.commands import answered, recxfer

LOG = "user,item,time\n" + "".join(
    f"u{u},{item},{1_600_000_000 + u + n}\n" for u in range(4) for n, item in enumerate("abcdefgh")
)
RED, BLUE, WHITE = (255, 0, 0), (0, 0, 255), (255, 255, 255)


@pytest.fixture
def log(tmp_path):
    path = tmp_path / "log.csv"
    path.write_text(LOG)
    return path


@pytest.fixture
def pics(tmp_path):
    """A folder with the image of one item, `a`: red."""
    folder = tmp_path / "pics"
    folder.mkdir()
    Image.new("RGB", (20, 30), RED).save(folder / "a.png")
    return folder


def image_of(dataset, item):
    """The decoded image of an item by its raw id; None where it has none."""
    content = Dataset(dataset).content
    index = Dataset(dataset).item_ids.to_list().index(item) + 1
    row = int(content.image_row_V1[index])
    assert bool(content.has_image_V1[index]) == (row >= 0)
    return None if row < 0 else content.pixels[row]


def png(width, height, data=b""):
    """A PNG whose header promises a size, whatever the data holds."""

    def chunk(kind, body):
        check = struct.pack(">I", zlib.crc32(kind + body))
        return struct.pack(">I", len(body)) + kind + body + check

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    parts = (chunk(b"IHDR", header), chunk(b"IDAT", zlib.compress(data)), chunk(b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def test_texts_come_in_on_one_line_and_blank_ones_are_counted(log, tmp_path):
    items = tmp_path / "items.csv"
    items.write_text('item,title\na,"  red \n\t\u00a0shoe "\nb," \u2003"\nc,\nd,D\n')
    found = answered("prepare", log, tmp_path / "toy", "--items", items)
    assert found["texts"] == {"items": 2, "absent": 5, "empty": 1}
    assert found["images"] is None
    assert found["warnings"] == [
        "6 of 8 items have no text",
        "1 items have a text that is blank: read as none",
    ]
    content = Dataset(tmp_path / "toy").content
    assert content.text_V == ("red shoe", "", "", "D", "", "", "", "")
    assert content.has_text_V1.tolist() == [False, True, False, False, True, *[False] * 4]
    assert content.pixels is None
    assert not content.has_image_V1.any()


def test_images_are_decoded_to_squares_in_the_order_of_items(log, pics, tmp_path):
    wide = np.zeros((40, 120, 3), dtype=np.uint8)
    wide[:, :40], wide[:, 40:80] = RED, BLUE
    Image.fromarray(wide).save(pics / "c.jpg", quality=95)
    found = answered("prepare", log, tmp_path / "toy", "--images", pics, "--set", "image_side=16")
    nothing = {"missing": 0, "corrupt": 0, "too_large": 0, "animated": 0}
    assert found["images"] == {"side": 16, "items": 2, "absent": 6, **nothing}
    dataset = Dataset(tmp_path / "toy")
    assert dataset.content.pixels.shape == (2, 16, 16, 3)
    assert not dataset.content.pixels.flags.writeable
    assert dataset.content.image_row_V1.tolist() == [-1, 0, -1, 1, *[-1] * 5]
    assert (image_of(tmp_path / "toy", "a") == RED).all()
    assert np.abs(image_of(tmp_path / "toy", "c")[8, 8].astype(int) - BLUE).max() < 12
    assert image_of(tmp_path / "toy", "b") is None
    assert "content/images.npy" in dataset.info.tables
    assert dataset.content.text_V == ("",) * 8


def test_files_that_are_no_image_cost_their_item_the_image_alone(log, pics, tmp_path):
    whole = pics / "whole"
    Image.new("RGB", (50, 50), BLUE).save(whole, "JPEG")
    (pics / "b.jpg").write_bytes(whole.read_bytes()[:-200])
    (pics / "c.jpg").write_text("<html>404</html>")
    (pics / "d.png").write_bytes(png(60_000, 60_000))
    (pics / "h.png").write_bytes(png(8_000, 7_000))  # few enough for Pillow, and too many here
    (pics / "e.png").write_bytes(png(10, 10, b"short"))
    (pics / "f.jpg").touch()
    frames = [Image.new("RGB", (12, 12), colour) for colour in (BLUE, RED)]
    frames[0].save(pics / "g.gif", save_all=True, append_images=frames[1:])
    found = answered("prepare", log, tmp_path / "toy", "--images", pics)
    assert found["images"] == {
        "side": 64, "items": 2, "absent": 0, "missing": 0, "corrupt": 4, "too_large": 2,
        "animated": 1,
    }  # fmt: skip
    assert found["warnings"] == [
        "6 of 8 items have no image",
        f"4 images cannot be decoded, such as {pics / 'b.jpg'}",
        f"2 images have more than 50,000,000 pixels, such as {pics / 'd.png'}",
        "1 images have several frames: the first is taken",
    ]
    assert image_of(tmp_path / "toy", "b") is None
    assert (image_of(tmp_path / "toy", "g") == BLUE).all()


@pytest.mark.parametrize("width", [100, 101])
def test_an_image_that_is_too_large_is_never_decoded(log, pics, tmp_path, monkeypatch, width):
    monkeypatch.setattr("recxfer.preparing.images.MAX_PIXELS", 10_000)
    (pics / "b.png").write_bytes(png(width, 100))
    decoded = []
    load = Image.Image.convert
    monkeypatch.setattr(
        Image.Image, "convert", lambda self, mode: decoded.append(self.size) or load(self, mode)
    )
    found = answered("prepare", log, tmp_path / "toy", "--images", pics)
    small = width == 100
    assert ((width, 100) in decoded) == small
    assert found["images"]["too_large"] == (not small)
    assert found["images"]["corrupt"] == small  # what the header promises is not there


def test_paths_of_an_item_table_that_lead_nowhere_are_counted(log, pics, tmp_path):
    items = tmp_path / "items.csv"
    items.write_text(f"item,image\na,pics/a.png\nb,pics/b.png\nc,{'x' * 300}\nd,pics\ne,\n")
    found = answered("prepare", log, tmp_path / "toy", "--items", items)
    assert found["images"]["missing"] == 3
    assert found["images"]["absent"] == 4
    assert pl.read_parquet(tmp_path / "toy/items.parquet").select("image", "image_row").rows()[
        :3
    ] == [("../pics/a.png", 0), ("../pics/b.png", None), (f"../{'x' * 300}", None)]


@pytest.mark.parametrize(
    "picture, colour",
    [
        (Image.new("L", (9, 9), 100), (100, 100, 100)),
        (Image.new("1", (9, 9), 1), WHITE),
        (Image.new("P", (9, 9), 0), None),
        (Image.new("RGBA", (9, 9), (255, 0, 0, 0)), WHITE),
        (Image.new("RGBA", (9, 9), (255, 0, 0, 255)), RED),
        (Image.new("LA", (9, 9), (0, 0)), WHITE),
        (Image.new("I;16", (9, 9), 0x6400), (100, 100, 100)),
        (Image.new("RGB", (1, 300), BLUE), BLUE),
    ],
    ids=["grey", "bits", "palette", "clear", "opaque", "grey-clear", "grey-16", "thin"],
)
def test_any_mode_becomes_rgb(log, pics, tmp_path, picture, colour):
    if picture.mode == "P":
        picture.putpalette([0, 0, 255])
        colour = BLUE
    picture.save(pics / "b.png")
    answered("prepare", log, tmp_path / "toy", "--images", pics)
    assert (image_of(tmp_path / "toy", "b") == colour).all()


def test_clear_parts_of_a_palette_and_cmyk(log, pics, tmp_path):
    Image.new("P", (9, 9), 0).save(pics / "b.gif", transparency=0)
    Image.new("CMYK", (9, 9), (0, 0, 0, 0)).save(pics / "c.jpg")
    answered("prepare", log, tmp_path / "toy", "--images", pics)
    assert (image_of(tmp_path / "toy", "b") == WHITE).all()
    assert (image_of(tmp_path / "toy", "c") >= 250).all()


def test_the_same_files_give_the_same_bytes_and_content(log, pics, tmp_path):
    for item in "bcdefg":
        noise = np.random.default_rng(ord(item)).integers(256, size=(70, 90, 3), dtype=np.uint8)
        Image.fromarray(noise).save(pics / f"{item}.jpg")
    for name in ("one/toy", "two/toy"):
        answered("prepare", log, tmp_path / name, "--images", pics)
    one, two = (tmp_path / name / "toy" for name in ("one", "two"))
    for file in ("dataset.json", "items.parquet", "content/images.npy"):
        assert (one / file).read_bytes() == (two / file).read_bytes()
    assert Dataset(one).content.fingerprint == Dataset(two).content.fingerprint
    Image.new("RGB", (70, 90), RED).save(pics / "b.jpg")
    answered("prepare", log, tmp_path / "three/toy", "--images", pics)
    assert Dataset(tmp_path / "three/toy").content.fingerprint != Dataset(one).content.fingerprint


def test_images_that_all_fail_are_an_error_that_leaves_nothing(log, pics, tmp_path):
    (pics / "a.png").write_bytes(b"no image")
    result = recxfer("prepare", log, tmp_path / "toy", "--images", pics, code=3)
    assert f"no image that can be used: {pics / 'a.png'} is corrupt" in result.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["log.csv", "pics"]


def test_images_of_a_table_can_be_left_out(log, tmp_path):
    items = tmp_path / "items.csv"
    items.write_text("item,title,image\na,A,https://example.org/a.jpg\n")
    result = recxfer("prepare", log, tmp_path / "toy", "--items", items, code=3)
    assert "a.jpg is missing" in result.stderr
    assert "--columns image=" in result.stderr
    found = answered("prepare", log, tmp_path / "toy", "--items", items, "--columns", "image=")
    assert found["images"] is None
    assert Dataset(tmp_path / "toy").info.modalities == ("text",)


def test_without_pillow_images_are_refused_and_texts_are_not(log, pics, tmp_path, monkeypatch):
    for name in [name for name in sys.modules if name == "PIL" or name.startswith("PIL.")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "PIL", None)
    items = tmp_path / "items.csv"
    items.write_text("item,title\na,A\n")
    result = recxfer("prepare", log, tmp_path / "toy", "--items", items, "--images", pics, code=2)
    assert "pip install 'recxfer[modal]'" in result.stderr
    assert not (tmp_path / "toy").exists()
    recxfer("prepare", log, tmp_path / "toy", "--items", items)


def test_a_table_whose_texts_are_lists_is_refused(log, tmp_path):
    pl.DataFrame({"item": ["a"], "title": [["x", "y"]]}).write_parquet(tmp_path / "items.parquet")
    result = recxfer(
        "prepare", log, tmp_path / "toy", "--items", tmp_path / "items.parquet", code=3
    )
    assert "--columns text=NAME" in result.stderr


def test_the_table_shows_what_is_amiss(log, pics, tmp_path):
    (pics / "b.jpg").touch()
    result = recxfer("prepare", log, tmp_path / "toy", "--images", pics)
    shown = " ".join(result.stderr.replace("│", " ").split())
    assert "image 1 of 8 items of the items absent 6, corrupt 1" in shown


def test_content_says_what_is_not_there(log, pics, tmp_path):
    answered("prepare", log, tmp_path / "bare")
    with pytest.raises(DataError, match="no text and no image"):
        _ = Dataset(tmp_path / "bare").content
    answered("prepare", log, tmp_path / "toy", "--images", pics)
    array = tmp_path / "toy/content/images.npy"
    array.write_bytes(array.read_bytes()[:-1])
    with pytest.raises(DataError, match=r"images\.npy cannot be read"):
        _ = Dataset(tmp_path / "toy").content
    np.save(array, np.zeros((3, 64, 64, 3), dtype=np.uint8))
    with pytest.raises(DataError, match="not 1 images"):
        _ = Dataset(tmp_path / "toy").content
    table = pl.read_parquet(tmp_path / "toy/items.parquet").drop("image_row")
    table.write_parquet(tmp_path / "toy/items.parquet")
    with pytest.raises(DataError, match="holds none of their pixels"):
        _ = Dataset(tmp_path / "toy").content


def test_a_dataset_of_before_keeps_its_fingerprint(log, tmp_path):
    answered("prepare", log, tmp_path / "toy")
    path = tmp_path / "toy/dataset.json"
    record = json.loads(path.read_text())
    assert "texts" not in record
    assert "images" not in record
    del record["settings"]["image_side"]
    path.write_text(json.dumps(record))
    found = Dataset(tmp_path / "toy").info.fingerprint
    assert found == hashlib.sha256(canonical_json(record).encode()).hexdigest()
