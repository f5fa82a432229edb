"""Tasks: next item, cross-domain and profiles."""

from dataclasses import dataclass
from typing import Literal

from recxfer.foundation.errors import UsageError

TaskKind = Literal["next-item", "cross-domain", "profile"]


@dataclass(frozen=True, slots=True)
class Task:
    """A task and the sizes a model for it needs."""

    kind: TaskKind
    """`next-item` in the target, `cross-domain` (source history -> target item) or `profile`."""

    num_outputs: int
    """Items of the target domain, or classes."""

    column: str | None = None
    """The label column of a `profile` task."""

    classes: tuple[str, ...] = ()
    """Class names of a `profile` task, in output order."""

    same_vocabulary: bool = True
    """Whether histories hold items of the base's vocabulary; `next-item` in a new domain: no."""

    @property
    def name(self) -> str:
        """The task as `--task` takes it: `next-item`, `cross-domain` or `profile:COLUMN`."""
        return f"{self.kind}:{self.column}" if self.column else self.kind

    @property
    def ranks_items(self) -> bool:
        """Whether outputs are items; else they are classes."""
        return self.kind != "profile"


def parse_task(text: str) -> tuple[TaskKind, str | None]:
    """Read `next-item`, `cross-domain` or `profile:COLUMN` as (kind, column).

    Raises:
        UsageError: the text is none of these.
    """
    kind, _, column = text.partition(":")
    if kind == "profile" and column:
        return "profile", column
    if text in {"next-item", "cross-domain"}:
        return text, None  # type: ignore[return-value]  # narrowed by the set above
    raise UsageError(
        f"unknown task {text!r}; there are next-item, cross-domain and profile:COLUMN",
        hint="profile tasks name a label column: --task profile:gender",
    )
