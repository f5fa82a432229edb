"""Hashed words: the same everywhere, nothing lost but what is said to be."""

import torch

from recxfer.models.content.tokens import HashTokeniser, token_table, words


def test_words_are_lower_case_and_without_punctuation():
    assert words("The BOY's  co-op, No. 7!") == ["the", "boy", "s", "co", "op", "no", "7"]
    assert words("Caf\u00e9 \ufb01sh \uff21") == ["caf\u00e9", "fish", "a"]
    assert words("…!? —") == []


def test_scripts_without_spaces_are_read_by_character():
    assert words("東京 tower") == ["東", "京", "tower"]
    assert words("abc東def") == ["abc", "東", "def"]
    assert words("Москва-Köln") == ["москва", "köln"]


def test_buckets_are_what_the_description_says():
    # blake2b-64 of "fish", little-endian, modulo 29,999, plus 1: a change would break checkpoints.
    assert HashTokeniser(30_000)(["Fish"], 9) == [[26021]]


def test_buckets_never_are_padding_and_fill_the_table():
    texts = [f"word{number}" for number in range(2000)]
    seen = {tokens[0] for tokens in HashTokeniser(50)(texts, 4)}
    assert seen == set(range(1, 50))


def test_the_table_keeps_the_first_tokens_and_pads_with_zero():
    table_VT, length_V = token_table(["a b c d", "", "b a"], HashTokeniser(1000), 3)
    assert table_VT.dtype == torch.int32
    assert length_V.tolist() == [3, 0, 2]
    assert table_VT.shape == (3, 3)
    assert table_VT[0, :2].flip(0).tolist() == table_VT[2, :2].tolist()
    assert table_VT[1].tolist() == [0, 0, 0]
    assert table_VT[2, 2] == 0


def test_a_domain_without_any_word_has_a_table_of_padding():
    table_VT, length_V = token_table(["", "!"], HashTokeniser(10), 5)
    assert table_VT.tolist() == [[0], [0]]
    assert length_V.tolist() == [0, 0]
