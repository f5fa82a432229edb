"""Random streams by name, all derived from one seed.

A stream is a pure function of (seed, names), so adding a consumer shifts no other one, and a run
resumed in the middle draws what the uninterrupted run would have drawn.
"""

import hashlib
from dataclasses import dataclass

import torch


@dataclass(frozen=True, slots=True)
class Rng:
    """A family of random streams."""

    seed: int

    def derive(self, *names: str | int) -> int:
        """Derive a 63-bit seed for the stream of these names."""
        text = "/".join(str(name) for name in (self.seed, *names))
        return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "little") >> 1

    def generator(self, *names: str | int) -> torch.Generator:
        """Make a CPU generator at the start of the stream of these names."""
        return torch.Generator().manual_seed(self.derive(*names))

    def seed_all(self, *names: str | int) -> None:
        """Put torch's global generators (dropout, initialisation) at the start of a stream."""
        torch.manual_seed(self.derive(*names))
