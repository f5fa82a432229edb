"""Choose the columns of a raw table, by usual names or `--columns`: user, item, time, ...."""

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import polars as pl

from recxfer.foundation.errors import DataError, UsageError
from recxfer.foundation.names import EVENT, IMAGE, ITEM_ID, TEXT, TIMESTAMP, USER_ID, WEIGHT
from recxfer.foundation.registry import suggestion


@dataclass(frozen=True, slots=True)
class Role:
    """A column that `prepare` looks for."""

    key: str
    """What `--columns` calls it."""

    column: str
    """Its name in raw tables, and the first that is looked for."""

    usual: Sequence[Collection[str]]
    """Usual names, lower case without separators; an earlier group wins over a later one."""


USER_ROLE: Final = Role(
    "user",
    USER_ID,
    (
        {"user", "userid", "uid"},
        {"reviewerid", "customerid", "visitorid", "memberid", "accountid", "personid"},
        {"session", "sessionid"},
    ),
)
ITEM_ROLE: Final = Role(
    "item",
    ITEM_ID,
    (
        {"item", "itemid", "iid"},
        {"asin", "movieid", "productid", "articleid", "trackid", "songid", "bookid", "newsid"},
        {"businessid", "videoid", "gameid", "isbn", "sku", "parentasin"},
    ),
)
TIME_ROLE: Final = Role(
    "time",
    TIMESTAMP,
    (
        {"time", "ts", "unixtime", "unixreviewtime", "eventtime", "datetime"},
        {"date", "createdat", "tdat", "reviewtime"},
    ),
)
EVENT_ROLE: Final = Role(
    "event", EVENT, ({"eventtype", "action", "actiontype", "behavior", "behaviortype"},)
)
WEIGHT_ROLE: Final = Role(
    "weight", WEIGHT, ({"rating", "ratings", "overall", "stars", "score"}, {"plays", "playcount"})
)
TEXT_ROLE: Final = Role(
    "text", TEXT, ({"title", "movietitle", "name", "productname"}, {"description"})
)
IMAGE_ROLE: Final = Role("image", IMAGE, ({"imagepath", "imagefile"},))

EVENT_ROLES: Final = (USER_ROLE, ITEM_ROLE, TIME_ROLE, EVENT_ROLE, WEIGHT_ROLE)
ITEM_ROLES: Final = (TEXT_ROLE, IMAGE_ROLE)
_TIME_LIKE: Final = ("time", "date", "stamp", "when", "day", "created", "clock")
_KEYS: Final = tuple(role.key for role in (*EVENT_ROLES, *ITEM_ROLES))


def parse_columns(text: str | None) -> dict[str, str]:
    """Read `user=uid,item=asin` as a mapping; an empty name (`weight=`) leaves a role out.

    Raises:
        UsageError: a part is no `key=name`, a key is unknown or given twice, or a column of the log
            or of the item table has two roles.
    """
    columns: dict[str, str] = {}
    for part in filter(None, (text or "").split(",")):
        key, equals, name = (piece.strip() for piece in part.partition("="))
        if not equals or key not in _KEYS:
            raise UsageError(
                f"--columns {part!r} is not KEY=NAME with a KEY among {', '.join(_KEYS)}",
                hint=suggestion(key, _KEYS),
            )
        if key in columns:
            raise UsageError(f"--columns names {key} twice: {columns[key]!r} and {name!r}")
        columns[key] = name
    for roles in (EVENT_ROLES, ITEM_ROLES):
        _refuse_two_roles({role.key: columns[role.key] for role in roles if role.key in columns})
    return columns


def _refuse_two_roles(columns: Mapping[str, str]) -> None:
    keys: dict[str, str] = {}
    for key, name in columns.items():
        if name in keys:
            raise UsageError(
                f"--columns gives {name!r} two roles, {keys[name]} and {key}",
                hint=f"name another column: {key}=NAME",
            )
        if name:
            keys[name] = key


def by_position(columns: Mapping[str, str]) -> bool:
    """Return whether columns are given as numbers from 1, so that files have no header."""
    names = [name for name in columns.values() if name]
    return bool(names) and all(name.isdecimal() for name in names)


def find_columns(
    names: Sequence[str],
    roles: Sequence[Role],
    required: Collection[Role],
    told: Mapping[str, str],
    source: str,
) -> dict[str, str]:
    """Find raw names by canonical name, for the roles that the table has.

    A column that already has the canonical name wins, then the first group of usual names that
    occurs. The roles that `told` names are taken literally, and their columns get no other role.

    Args:
        names: the columns of the table.
        roles: what to look for.
        required: roles without which the table is of no use.
        told: `--columns`, by role key.
        source: the table, for messages.

    Raises:
        DataError: a column that was told or is required is missing, or two could be meant.
    """
    found = {}
    taken = {told[role.key] for role in roles if role.key in told}
    free = [name for name in names if name not in taken]
    for role in roles:
        name = told[role.key] if role.key in told else _usual(role, free, source)
        if name and name not in names:
            raise DataError(
                f"{source} has no column {name!r}; there are {', '.join(names)}",
                hint=suggestion(name, names),
            )
        if name:
            found[role.column] = name
        elif role in required:
            raise DataError(
                f"{source} has no column that looks like the {role.key}: {', '.join(names)}",
                hint=f"name it: --columns {role.key}=NAME "
                f"(or {role.key}=NUMBER, where the file has no header)",
            )
    return found


def time_candidates(schema: pl.Schema) -> list[str]:
    """List columns that may be times although their names are not usual."""
    return [
        name
        for name, dtype in schema.items()
        if dtype.is_temporal() or any(part in _fold(name) for part in _TIME_LIKE)
    ]


def usual_columns(role: Role, names: Sequence[str]) -> list[str]:
    """List the columns with a usual name of a role."""
    if role.column in names:
        return [role.column]
    for group in ({_fold(role.column)}, *role.usual):
        if matches := [name for name in names if _fold(name) in group]:
            return matches
    return []


def _usual(role: Role, names: Sequence[str], source: str) -> str | None:
    matches = usual_columns(role, names)
    if len(matches) > 1:
        raise DataError(
            f"{source} has several columns that look like the {role.key}: {', '.join(matches)}",
            hint=f"choose one: --columns {role.key}={matches[0]}",
        )
    return matches[0] if matches else None


def _fold(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())
