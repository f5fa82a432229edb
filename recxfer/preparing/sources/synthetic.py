"""Source `synthetic`: draw a world whose right answers are known, in seconds.

Two domains share people. A person's type (gender and age) decides what they like in both; what
they did last decides most of what they do next. See `docs/reference/synthetic.md`.
"""

import hashlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import ClassVar, Literal, final

import numpy as np
import polars as pl
from pydantic import Field
from typing_extensions import override

from recxfer.foundation.config import Config
from recxfer.foundation.names import IMAGE, ITEM_ID, TEXT, TIMESTAMP, USER_ID
from recxfer.preparing.sources.contract import (
    IMAGES_FOLDER,
    RAW_FOLDER,
    PathUse,
    RawSource,
    Request,
    Source,
)
from recxfer.preparing.sources.synthetic_content import image_of, text_of
from recxfer.preparing.sources.synthetic_world import (
    GENDERS,
    Domain,
    Ints,
    posterior,
    rank_target,
)

CHUNK_USERS = 1 << 14
"""People made together. A fixed grid: what a person does depends on the seed and their number."""

ORACLE_SCORES = 1 << 24
"""The best possible values are measured on the first people: as many as have this many scores
together, and at most ORACLE_USERS."""

ORACLE_USERS = 4000

SOURCE_START, TARGET_START = 1_600_000_000, 1_700_000_000
"""Seconds: everything in the source happens before anything in the target."""


class SyntheticConfig(Config):
    """Settings of the `synthetic` source."""

    users: int = Field(default=2000, ge=10, le=50_000_000)
    """People in the source domain."""

    items: int = Field(default=500, ge=20, le=1_000_000)
    """Items of each domain."""

    events_per_user: float = Field(default=30.0, ge=3, le=10_000)
    """Mean events of a person in the source."""

    domain: Literal["source", "target"] = "source"
    """Which of the two domains to make."""

    shared: float = Field(default=0.8, gt=0, le=1)
    """Share of the people who are in the target as well."""

    cold: float = Field(default=0.5, ge=0, le=1)
    """Share of the target's people with one to three events; others have ten on average."""

    follow: float = Field(default=0.6, ge=0, lt=1)
    """Chance that the next event is a planted successor of the last one."""

    ages: int = Field(default=4, ge=2, le=10)
    """Classes of the label `age`; `gender` has two."""

    label_noise: float = Field(default=0.05, ge=0, lt=0.5)
    """Share of the labels that are drawn at random."""

    text: bool = True
    """Whether items have text."""

    images: bool = False
    """Whether items have images (small PNG files)."""


@final
class Synthetic(Source[SyntheticConfig]):
    """Make one domain of a planted world; both domains of one seed belong together."""

    config_type: ClassVar[type[Config]] = SyntheticConfig
    path: ClassVar[PathUse] = "refused"

    @classmethod
    @override
    def recognises(cls, path: Path) -> bool:
        """Recognise nothing: this source reads no files."""
        return False

    @override
    def read(self, request: Request) -> RawSource:
        """Draw the world, and write shards and images to the directory."""
        return _World(self.config, request.seed).source(request.directory)


@dataclass(frozen=True)
class _People:
    """A chunk of people and what they do in one domain."""

    first: int
    type_U: Ints
    length_U: Ints
    user_E: Ints
    item_E: Ints


@dataclass(frozen=True)
class _World:
    settings: SyntheticConfig
    seed: int

    def generator(self, *names: str | int) -> np.random.Generator:
        """Make the random stream of these names."""
        text = "/".join(str(name) for name in ("synthetic", self.seed, *names))
        return np.random.Generator(
            np.random.PCG64(int.from_bytes(hashlib.sha256(text.encode()).digest()[:16], "little"))
        )

    @cached_property
    def domains(self) -> dict[str, Domain]:
        """The laws of both domains."""
        s = self.settings
        return {
            name: Domain.draw(self.generator("laws", name), s.items, s.ages, s.follow)
            for name in ("source", "target")
        }

    def people(self, chunk: int, domain: str) -> _People:
        """Draw what the people of a chunk do in a domain."""
        s = self.settings
        first = chunk * CHUNK_USERS
        size = min(CHUNK_USERS, s.users - first)
        who = self.generator("people", chunk)
        # Whole chunks are drawn and then cut, so that more users change nobody who was there.
        type_U = who.integers(len(GENDERS) * s.ages, size=CHUNK_USERS)[:size]
        length_U = _lengths(who, s.events_per_user)[:size]
        if domain == "target":
            present, cold, few = who.random((3, CHUNK_USERS))[:, :size]
            warm_U = _lengths(who, 10.0)[:size]
            length_U = np.where(cold < s.cold, 1 + (3 * few).astype(np.int64), warm_U)
            length_U = np.where(present < s.shared, length_U, 0)
        what = self.generator("events", domain, chunk)
        user_E, item_E = self.domains[domain].walk(what, type_U, length_U)
        return _People(first, type_U, length_U, user_E, item_E)

    def labels(self, chunk: int, type_U: Ints) -> tuple[Ints, Ints]:
        """Observed gender and age of a chunk's people: mostly those of their type."""
        s = self.settings
        noise = self.generator("labels", chunk)
        observed = []
        for truth_U, classes in ((type_U // s.ages, len(GENDERS)), (type_U % s.ages, s.ages)):
            wrong_U = noise.random(CHUNK_USERS)[: truth_U.size] < s.label_noise
            any_U = noise.integers(classes, size=CHUNK_USERS)[: truth_U.size]
            observed.append(np.where(wrong_U, any_U, truth_U))
        return observed[0], observed[1]

    def source(self, directory: Path) -> RawSource:
        """Write events in shards and describe the rest."""
        raw = directory / RAW_FOLDER
        raw.mkdir(parents=True, exist_ok=True)
        chunks = range(-(-self.settings.users // CHUNK_USERS))
        for chunk in chunks:
            self._event_table(chunk).write_parquet(raw / f"events-{chunk:06}.parquet")
        return RawSource(
            name=f"synthetic-{self.settings.domain}",
            interactions=pl.scan_parquet(raw / "events-*.parquet"),
            items=self._item_table(directory).lazy(),
            users=pl.concat(self._user_table(chunk) for chunk in chunks).lazy(),
            known_answers=self.known_answers(),
        )

    def _event_table(self, chunk: int) -> pl.DataFrame:
        domain = self.settings.domain
        people = self.people(chunk, domain)
        start = SOURCE_START if domain == "source" else TARGET_START
        gap_E = self.generator("gaps", domain, chunk).integers(60, 86_400, people.user_E.size)
        elapsed_E = gap_E.cumsum()
        begin_U = people.length_U.cumsum() - people.length_U
        before_U = np.r_[0, elapsed_E][begin_U]
        return pl.DataFrame(
            {
                USER_ID: _ids("u", people.first + people.user_E),
                ITEM_ID: _ids(domain[0], people.item_E),
                TIMESTAMP: start + elapsed_E - before_U[people.user_E],
            }
        )

    def _user_table(self, chunk: int) -> pl.DataFrame:
        people = self.people(chunk, self.settings.domain)
        gender_U, age_U = self.labels(chunk, people.type_U)
        ages = [f"age{age}" for age in range(self.settings.ages)]
        return pl.DataFrame(
            {
                USER_ID: _ids("u", people.first + np.arange(people.type_U.size)),
                "gender": pl.Series([GENDERS[g] for g in gender_U], dtype=pl.Enum(GENDERS)),
                "age": pl.Series([ages[a] for a in age_U], dtype=pl.Enum(ages)),
            }
        )

    def _item_table(self, directory: Path) -> pl.DataFrame:
        s = self.settings
        domain = self.domains[s.domain]
        table = pl.DataFrame({ITEM_ID: _ids(s.domain[0], np.arange(s.items))})
        content = self.generator("content", s.domain)
        if s.text:
            table = table.with_columns(pl.Series(TEXT, text_of(domain.cluster_V, content)))
        if s.images:
            folder = directory / IMAGES_FOLDER
            folder.mkdir()
            names = [f"{IMAGES_FOLDER}/{item}.png" for item in table[ITEM_ID]]
            for name, cluster in zip(names, domain.cluster_V, strict=True):
                (directory / name).write_bytes(image_of(int(cluster), content))
            table = table.with_columns(pl.Series(IMAGE, names))
        return table

    def known_answers(self) -> dict[str, float]:
        """Compute what an oracle reaches that knows all laws, but people only by their events.

        Histories, targets and candidates are those of the split `leave-last` (for `cross-domain`:
        every target event, from the source history alone, with earlier target events no
        candidates), for people with at least three events.
        """
        people = self._first(self.people(0, "source"))
        answers: dict[str, float] = {}
        if self.settings.domain == "source":
            answers |= self._next_item(people, self.domains["source"])
            answers |= self._profiles(people)
        else:
            answers |= self._next_item(
                self._first(self.people(0, "target")), self.domains["target"]
            )
            answers |= self._cross_domain(people)
        return {name: round(value, 4) for name, value in answers.items()}

    def _first(self, people: _People) -> _People:
        count = min(ORACLE_USERS, max(ORACLE_SCORES // self.settings.items, 1))
        cut = people.user_E < count
        return _People(
            0,
            people.type_U[:count],
            people.length_U[:count],
            people.user_E[cut],
            people.item_E[cut],
        )

    def _next_item(self, people: _People, domain: Domain) -> dict[str, float]:
        chosen = np.flatnonzero(people.length_U >= 3)
        end_U = people.length_U.cumsum()[chosen]
        target_U, last_U = people.item_E[end_U - 1], people.item_E[end_U - 2]
        kept = np.ones(people.item_E.size, dtype=bool)
        kept[end_U - 1] = False
        place = np.full(people.type_U.size, -1)
        place[chosen] = np.arange(chosen.size)
        user_E, item_E = place[people.user_E[kept]], people.item_E[kept]
        user_E, item_E = user_E[user_E >= 0], item_E[user_E >= 0]
        belief = posterior(domain.log_likelihood(user_E, item_E, chosen.size))
        scores = domain.next_scores(belief, last_U)
        return _ranking("next-item", rank_target(scores, target_U, user_E, item_E))

    def _profiles(self, people: _People) -> dict[str, float]:
        """On what precedes the last two events, as `profile` tasks under `leave-last` see it."""
        end_U = people.length_U.cumsum()
        position_E = np.arange(people.item_E.size)
        kept_E = position_E < (end_U - np.where(people.length_U >= 3, 2, 0))[people.user_E]
        belief_UT = posterior(
            self.domains["source"].log_likelihood(
                people.user_E[kept_E], people.item_E[kept_E], people.type_U.size
            )
        )
        belief = belief_UT.reshape(-1, len(GENDERS), self.settings.ages)
        gender_U, age_U = self.labels(0, people.type_U)
        return {
            "profile:gender/accuracy": float((belief.sum(2).argmax(1) == gender_U).mean()),
            "profile:age/accuracy": float((belief.sum(1).argmax(1) == age_U).mean()),
        }

    def _cross_domain(self, source: _People) -> dict[str, float]:
        target, domain = self._first(self.people(0, "target")), self.domains["target"]
        belief_UT = posterior(
            self.domains["source"].log_likelihood(source.user_E, source.item_E, source.type_U.size)
        )
        begin_U = target.length_U.cumsum() - target.length_U
        step_E = np.arange(target.item_E.size) - begin_U[target.user_E]
        marginal = domain.marginals(int(step_E.max(initial=0)) + 1)
        ranks = np.zeros(target.item_E.size, dtype=np.int64)
        for step in range(marginal.shape[0]):
            cases = np.flatnonzero(step_E == step)
            people = target.user_E[cases]
            seen = (step_E < step) & np.isin(target.user_E, people)
            place = np.full(target.type_U.size, -1)
            place[people] = np.arange(people.size)
            ranks[cases] = rank_target(
                belief_UT[people] @ marginal[step],
                target.item_E[cases],
                place[target.user_E[seen]],
                target.item_E[seen],
            )
        return _ranking("cross-domain", ranks)


def _ranking(task: str, rank_R: Ints) -> dict[str, float]:
    hit_R = rank_R <= 10
    return {
        f"{task}/HR@10": float(hit_R.mean()),
        f"{task}/NDCG@10": float((hit_R / np.log2(rank_R + 1)).mean()),
    }


def _lengths(generator: np.random.Generator, mean: float) -> Ints:
    """Draw events per person: at least three, skewed, `mean` on average, at most eight times it."""
    spread = generator.gamma(2.0, (mean - 3) / 2, size=CHUNK_USERS)
    return np.minimum(3 + spread.astype(np.int64), int(8 * mean))


def _ids(letter: str, number: Ints) -> pl.Series:
    return pl.select(pl.lit(letter) + pl.Series(number).cast(pl.String)).to_series()
