"""Laws of the synthetic world: tastes and successions of items, and what an oracle would know.

Shape letters: T types of people, K clusters, V items, S successors of an item, U users, E events.
Formulae are on `docs/reference/synthetic.md`.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

GENDERS = ("F", "M")
SUCCESSOR_SHARES = np.array([0.6, 0.3, 0.1])
"""How often each planted successor follows, given that one does."""

TASTE = 1.5
"""Spread of a type's log preferences over clusters, per label."""


@dataclass(frozen=True, slots=True)
class Domain:
    """The laws of one domain; items are numbered from 0 and lie in order of their cluster."""

    follow: float
    """Chance that the next event is a planted successor of the last one."""

    cluster_V: Ints
    base_TV: Floats
    """Chance of each item where it does not follow from the last one."""

    successor_VS: Ints

    @classmethod
    def draw(
        cls, generator: np.random.Generator, num_items: int, num_ages: int, follow: float
    ) -> "Domain":
        """Draw clusters, popularities, tastes and successors."""
        num_clusters = max(2, min(24, num_items // 10))
        cluster_V = np.sort(np.arange(num_items) % num_clusters)
        popularity_V = 1 / (1 + generator.permutation(num_items) % (num_items // num_clusters + 1))
        by_gender = generator.normal(size=(len(GENDERS), num_clusters)) * TASTE
        by_age = generator.normal(size=(num_ages, num_clusters)) * TASTE
        log_taste_TK = (by_gender[:, None] + by_age[None]).reshape(-1, num_clusters)
        weight_TV = np.exp(log_taste_TK)[:, cluster_V] * popularity_V
        base_TV = weight_TV / weight_TV.sum(1, keepdims=True)
        shifts = generator.integers(1, num_items, size=(num_items, len(SUCCESSOR_SHARES)))
        successor_VS = (np.arange(num_items)[:, None] + shifts) % num_items
        return cls(follow, cluster_V, base_TV, successor_VS)

    @property
    def num_items(self) -> int:
        """V."""
        return self.cluster_V.size

    def walk(
        self, generator: np.random.Generator, type_U: Ints, length_U: Ints
    ) -> tuple[Ints, Ints]:
        """Draw every user's events.

        Returns:
            User and item of each event, sorted by user and time (E each).
        """
        edges_TV = self.base_TV.cumsum(1)
        longest = int(length_U.max(initial=0))
        item_UL = np.zeros((type_U.size, longest), dtype=np.int32)
        edge_S = SUCCESSOR_SHARES.cumsum()
        for step in range(longest):
            live = np.flatnonzero(length_U > step)
            fresh = np.empty(live.size, dtype=np.int64)
            draw = generator.random((3, live.size))
            for kind in range(self.base_TV.shape[0]):
                of_kind = type_U[live] == kind
                fresh[of_kind] = np.searchsorted(edges_TV[kind], draw[0, of_kind], side="right")
            fresh = np.minimum(fresh, self.num_items - 1)
            if step:
                choice = np.minimum(np.searchsorted(edge_S, draw[1], side="right"), 2)
                next_item = self.successor_VS[item_UL[live, step - 1], choice]
                fresh = np.where(draw[2] < self.follow, next_item, fresh)
            item_UL[live, step] = fresh
        real_UL = np.arange(longest) < length_U[:, None]
        user_E = np.repeat(np.arange(type_U.size), length_U)
        return user_E, item_UL[real_UL].astype(np.int64)

    def log_likelihood(self, user_E: Ints, item_E: Ints, num_users: int) -> Floats:
        """Compute the log chance of each user's events under each type (U, T)."""
        first_E = np.r_[True, user_E[1:] != user_E[:-1]]
        before_E = np.r_[0, item_E[:-1]]
        is_next_ES = self.successor_VS[before_E] == item_E[:, None]
        planted_E = (is_next_ES * SUCCESSOR_SHARES).sum(1)
        base_TE = self.base_TV[:, item_E]
        chance_TE = np.where(
            first_E, base_TE, self.follow * planted_E + (1 - self.follow) * base_TE
        )
        total_TU = np.stack(
            [np.bincount(user_E, np.log(row), minlength=num_users) for row in chance_TE]
        )
        return np.asarray(total_TU.T, dtype=np.float64)

    def next_scores(self, posterior_UT: Floats, last_U: Ints) -> Floats:
        """Compute each item's chance to be next, given the last one and beliefs on types (U, V)."""
        score_UV = (1 - self.follow) * (posterior_UT @ self.base_TV)
        rows = np.arange(last_U.size)
        for place, share in enumerate(SUCCESSOR_SHARES):
            np.add.at(score_UV, (rows, self.successor_VS[last_U, place]), self.follow * share)
        return score_UV

    def marginals(self, steps: int) -> Floats:
        """Compute the chance of each item at each step, for each type (steps, T, V)."""
        chance_TV = self.base_TV
        found = [chance_TV]
        for _ in range(steps - 1):
            flow_TV = np.zeros_like(chance_TV)
            for place, share in enumerate(SUCCESSOR_SHARES):
                for kind in range(chance_TV.shape[0]):
                    flow_TV[kind] += np.bincount(
                        self.successor_VS[:, place],
                        share * chance_TV[kind],
                        minlength=self.num_items,
                    )
            chance_TV = self.follow * flow_TV + (1 - self.follow) * self.base_TV
            found.append(chance_TV)
        return np.stack(found)


def posterior(log_likelihood_UT: Floats) -> Floats:
    """Compute beliefs about each user's type: all types are equally common."""
    shifted_UT = np.exp(log_likelihood_UT - log_likelihood_UT.max(1, keepdims=True))
    return np.asarray(shifted_UT / shifted_UT.sum(1, keepdims=True))


def rank_target(score_UV: Floats, target_U: Ints, user_E: Ints, item_E: Ints) -> Ints:
    """Rank each target; items in (user_E, item_E) were met before and are no candidates."""
    best_U = score_UV[np.arange(target_U.size), target_U]
    hidden_UV = score_UV.copy()
    hidden_UV[user_E, item_E] = -np.inf
    hidden_UV[np.arange(target_U.size), target_U] = best_U
    return np.asarray((hidden_UV >= best_U[:, None]).sum(1))
