"""Draw texts and images that follow from an item's cluster."""

import struct
import zlib

import numpy as np
from numpy.typing import NDArray

SIDE = 24
"""Pixels along each edge of an image."""

_ONSETS = ("b", "d", "f", "g", "k", "l", "m", "n", "p", "r", "s", "t", "v", "z")
_VOWELS = ("a", "e", "i", "o", "u")
_WORDS_OF_CLUSTER = 12


def text_of(cluster_V: NDArray[np.int64], generator: np.random.Generator) -> list[str]:
    """Write a short title per item: three words of its cluster, and one of its own."""
    lexicon = _lexicon(generator, int(cluster_V.max()) + 1)
    own = _lexicon(generator, 1, cluster_V.size)[0]
    chosen = generator.integers(_WORDS_OF_CLUSTER, size=(cluster_V.size, 3))
    return [
        " ".join([*(lexicon[cluster][word] for word in words), own[item]])
        for item, (cluster, words) in enumerate(zip(cluster_V, chosen, strict=True))
    ]


def image_of(cluster: int, generator: np.random.Generator) -> bytes:
    """Draw a PNG of stripes in the cluster's colour and width, with noise of the item's own."""
    palette = np.random.Generator(np.random.PCG64(cluster))
    colours = palette.integers(30, 226, size=(2, 3))
    width = 2 + int(palette.integers(5))
    stripe = (np.arange(SIDE) // width) % 2
    plane = colours[stripe] if palette.random() < 0.5 else colours[1 - stripe]
    noisy = plane[None] + generator.integers(-24, 25, size=(SIDE, SIDE, 3))
    return _png(np.clip(noisy, 0, 255).astype(np.uint8))


def _lexicon(
    generator: np.random.Generator, groups: int, size: int = _WORDS_OF_CLUSTER
) -> list[list[str]]:
    onset = generator.integers(len(_ONSETS), size=(groups, size, 3))
    vowel = generator.integers(len(_VOWELS), size=(groups, size, 3))
    return [
        [
            "".join(_ONSETS[o] + _VOWELS[v] for o, v in zip(onset[g, w], vowel[g, w], strict=True))
            for w in range(size)
        ]
        for g in range(groups)
    ]


def _png(pixels: NDArray[np.uint8]) -> bytes:
    """Write an RGB image as PNG: one header, one compressed block, one end (PNG specification,
    5.3).
    """
    height, width, _ = pixels.shape
    rows = b"".join(b"\x00" + row.tobytes() for row in pixels)
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        _png_chunk(kind, body)
        for kind, body in ((b"IHDR", header), (b"IDAT", zlib.compress(rows, 9)), (b"IEND", b""))
    )


def _png_chunk(kind: bytes, body: bytes) -> bytes:
    checksum = zlib.crc32(kind + body)
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", checksum)
