"""Raw sources, one file each: formats of files, MovieLens by name, a synthetic world."""

from typing import TYPE_CHECKING, Final

from recxfer.foundation.registry import Entry, Table

if TYPE_CHECKING:
    from recxfer.preparing.sources.contract import AnySource

SOURCES: "Final[Table[type[AnySource]]]" = Table(
    "source",
    [
        Entry(
            "movielens-1m",
            "1,000,209 ratings of 3,706 movies; gender, age and occupation of 6,040 people",
            "recxfer.preparing.sources.movielens:MovieLens1M",
        ),
        Entry(
            "movielens-100k",
            "100,000 ratings of 1,682 movies; gender, age and occupation of 943 people",
            "recxfer.preparing.sources.movielens:MovieLens100K",
        ),
        Entry(
            "synthetic",
            "a planted world made in seconds: two domains, labels, texts and images, known answers",
            "recxfer.preparing.sources.synthetic:Synthetic",
        ),
        Entry(
            "delimited",
            "csv, tsv and other text with a separator: , tab ; | or ::",
            "recxfer.preparing.sources.delimited:Delimited",
        ),
        Entry(
            "parquet",
            "Parquet files",
            "recxfer.preparing.sources.parquet:Parquet",
        ),
        Entry(
            "jsonl",
            "one JSON object per line",
            "recxfer.preparing.sources.jsonl:JsonLines",
        ),
        Entry(
            "atomic",
            "RecBole's atomic files: NAME.inter, with NAME.item and NAME.user where they are",
            "recxfer.preparing.sources.atomic:Atomic",
        ),
        Entry(
            "sequences",
            "one line per user: the user, then the items in order of time, with blanks between",
            "recxfer.preparing.sources.sequences:Sequences",
        ),
    ],
    group="recxfer.sources",
    contract="recxfer.preparing.sources.contract:Source",
)
"""What `prepare` can read. A path alone is what the first of them recognises."""
