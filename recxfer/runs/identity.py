"""Compare two trainings by the facts they depend on, and name those that differ.

Names are those that a user sets: `optim.lr`, not `settings.optim.lr`.
"""

import json
from collections.abc import Iterator

from recxfer.foundation.files import Json, canonical_json

_WHOLE = {
    "dataset": "dataset",
    "source": "source",
    "parent": "base",
    "pretrained": "base",
    "task": "task",
}
"""Facts that are told by one name, because their parts (hashes) say nothing to a user."""

_UNNAMED = frozenset({"settings", "config"})
"""Levels of the header that no setting is called by."""

_UNSET = "unset"


def differing(before: Json, now: Json) -> list[str]:
    """Name what differs: `seed was 0, now 5`.

    Args:
        before: facts as a file holds them; what only it knows (results) is not looked at.
        now: the facts of this command.
    """
    current = json.loads(canonical_json(dict(now)))  # as a file would give them back
    found = {key: before.get(key) for key in current}
    return list(dict.fromkeys(_walk((), found, current)))


def _walk(path: tuple[str, ...], before: object, now: object) -> Iterator[str]:
    if before == now:
        return
    if path and path[0] in _WHOLE:
        yield _WHOLE[path[0]]
    elif isinstance(before, dict) and isinstance(now, dict):
        # The settings of another component differ as a matter of course: its name is enough.
        renamed = before.get("name") != now.get("name")
        for key in ["name"] if renamed else sorted(before.keys() | now.keys()):
            yield from _walk((*path, key), before.get(key, _UNSET), now.get(key, _UNSET))
    else:
        name = ".".join(part for part in path if part not in _UNNAMED)
        yield f"{name} was {_shown(before)}, now {_shown(now)}"


def _shown(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value)
