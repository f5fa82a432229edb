"""Raw sources: files of many formats, MovieLens by name, and the synthetic world."""

from typing import Final

from recxfer.foundation.registry import Entry, Table

SOURCES: Final = Table(
    "source",
    [
        Entry(
            "movielens-1m",
            "1,000,209 ratings of 3,706 movies; gender, age and occupation of 6,040 people",
            "recxfer.preparing.sources.movielens:read_movielens_1m",
        ),
        Entry(
            "movielens-100k",
            "100,000 ratings of 1,682 movies; gender, age and occupation of 943 people",
            "recxfer.preparing.sources.movielens:read_movielens_100k",
        ),
        Entry(
            "synthetic",
            "a planted world made in seconds: two domains, labels, texts and images, known answers",
            "recxfer.preparing.sources.synthetic:generate",
        ),
    ],
)
