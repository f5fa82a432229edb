"""Named random streams."""

import torch

from recxfer.foundation.rng import Rng


def draw(rng, *names):
    return torch.rand(4, generator=rng.generator(*names)).tolist()


def test_a_stream_is_a_function_of_seed_and_names():
    assert draw(Rng(1), "order", 0) == draw(Rng(1), "order", 0)
    streams = [draw(Rng(1), "order", 0), draw(Rng(1), "order", 1), draw(Rng(1), "init"),
               draw(Rng(2), "order", 0), draw(Rng(1), "order0")]  # fmt: skip
    assert len({tuple(stream) for stream in streams}) == len(streams)


def test_another_consumer_shifts_nobody():
    rng = Rng(3)
    before = draw(rng, "a")
    draw(rng, "b")
    assert draw(rng, "a") == before


def test_the_global_generator_can_be_put_at_a_stream():
    Rng(5).seed_all("dropout")
    first = torch.rand(3).tolist()
    torch.rand(10)
    Rng(5).seed_all("dropout")
    assert torch.rand(3).tolist() == first


def test_seeds_stay_what_they_were():
    assert Rng(0).derive("order", 0) == 3991725939186754870
