"""Hash words into buckets: tokens without a vocabulary, the same in every domain."""

import hashlib
import re
import unicodedata
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

_WORD = re.compile(
    r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]|[^\W\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]+"
)
"""A run of letters, digits and underscores; a single character where words are not spaced."""


def words(text: str) -> list[str]:
    """Split a text into words: compatibility-normalised (NFKC), lower case, without punctuation."""
    return _WORD.findall(unicodedata.normalize("NFKC", text).lower())


class HashTokeniser:
    """Words to buckets 1..num_buckets - 1; bucket 0 is padding.

    The bucket is the first 8 bytes of BLAKE2b of the word's UTF-8, little-endian, modulo the number
    of buckets less one, plus one. It depends on nothing else: not on the process, the machine, the
    dataset or the other words, so that domains that share nothing share one token space.
    """

    def __init__(self, num_buckets: int) -> None:
        self.num_buckets = num_buckets
        self._known: dict[str, int] = {}

    def __call__(self, texts: Sequence[str], longest: int) -> list[list[int]]:
        """Buckets of the first `longest` words of each text; none where a text has no word."""
        return [[self._bucket(word) for word in words(text)[:longest]] for text in texts]

    def _bucket(self, word: str) -> int:
        bucket = self._known.get(word)
        if bucket is None:
            digest = hashlib.blake2b(word.encode(), digest_size=8).digest()
            bucket = int.from_bytes(digest, "little") % (self.num_buckets - 1) + 1
            self._known[word] = bucket
        return bucket


Tokenise = Callable[[Sequence[str], int], list[list[int]]]
"""Texts, and how many tokens to keep of each, to token numbers."""


def token_table(texts: Sequence[str], tokenise: Tokenise, longest: int) -> tuple[Tensor, Tensor]:
    """Pad all texts to one table.

    Args:
        texts: V texts.
        tokenise: makes tokens of them.
        longest: tokens kept of each.

    Returns:
        int32 (V, T), T that of the longest text and at least 1, zero behind the end of a text;
        and int64 (V) lengths.
    """
    token_V = tokenise(texts, longest)
    length_V = torch.tensor([len(tokens) for tokens in token_V], dtype=torch.int64)
    width = max(int(length_V.max()) if token_V else 0, 1)
    table_VT = torch.zeros(len(token_V), width, dtype=torch.int32)
    real_VT = torch.arange(width) < length_V[:, None]
    flat = [token for tokens in token_V for token in tokens]
    table_VT[real_VT] = torch.tensor(flat, dtype=torch.int32)
    return table_VT, length_V
