"""What items as content cost: encoders, distinct items against every slot, frozen encoders, memory.

32 histories of 26 events, their items drawn by a Zipf law from 2,000 generated items with titles of
4 to 14 words and pictures of 64 pixels. A step encodes, reads the histories with SASRec and learns
to tell the next item from another row's. `every slot` encodes an item as often as it occurs, as the
release does; `distinct` encodes it once. One process per configuration and round, in turn, so that
ratios hold on a machine with other work to do. Memory is the process's peak above what it held
before the first step.
Usage: python transrec_speed.py [THREADS] [--json]
"""

import argparse
import json
import statistics
import subprocess
import sys
import time
from typing import Any

import numpy as np
import torch
from torch.nn import functional as F

from recxfer.data.content import ItemContent
from recxfer.data.history import History
from recxfer.foundation.device import autocast, choose_precision, keep_freed_memory
from recxfer.foundation.memory import peak_memory_mb
from recxfer.models.backbones.sasrec import SASRec, SASRecConfig
from recxfer.models.content.config import ContentConfig
from recxfer.models.content.table import BatchTable, ContentTable

ITEMS, EVENTS, PEOPLE, SIDE, WIDTH = 2_000, 26, 32, 64, 64
ENCODED, STEPS, ROUNDS = 256, 3, 3
ENCODERS: dict[str, dict[str, Any]] = {
    "text": {"modality": "text"},
    "cnn": {"modality": "image", "image": "cnn"},
    "vit": {"modality": "image", "image": "vit"},
}
WAYS: dict[str, dict[str, Any]] = {
    "distinct": {},
    "every slot": {},
    "distinct, again on the way back": {"gradient_checkpointing": True, "encode_batch": 128},
    "frozen": {"text_layers": 0, "image_layers": 0},
}
CASES = {
    **{f"{name}, encoding": (settings, "encoding") for name, settings in ENCODERS.items()},
    **{
        f"{name}, {way}": (settings | more, way)
        for name, settings in ENCODERS.items()
        for way, more in WAYS.items()
    },
}


def make_content() -> ItemContent:
    draw = np.random.default_rng(0)
    length_V = draw.integers(4, 15, ITEMS)
    return ItemContent(
        text_V=tuple(
            " ".join(f"w{word}" for word in draw.zipf(1.3, length) % 20_000) for length in length_V
        ),
        image_row_V1=torch.arange(-1, ITEMS),
        pixels=draw.integers(0, 256, (ITEMS, SIDE, SIDE, 3), dtype=np.uint8),
        fingerprint="generated",
    )


def every_slot(table: ContentTable, item_BL: torch.Tensor) -> BatchTable:
    """The same table by encoding all slots: of each item the mean of its slots' vectors.

    The backbone's work is thus equal, and gradients reach every slot.
    """
    slot_X = item_BL.reshape(-1)
    vector_XD = table.vectors(slot_X)
    item_U, place_X, count_U = slot_X.unique(return_inverse=True, return_counts=True)
    sum_UD = vector_XD.new_zeros(len(item_U), WIDTH).index_add(0, place_X, vector_XD)
    return BatchTable(item_U, sum_UD / count_U[:, None], table.special_SD)


def measure(case: str, threads: int) -> dict[str, float]:
    """Items encoded or sequences trained per second, items per step, MB that stepping needs."""
    settings, way = CASES[case]
    torch.set_num_threads(threads)
    keep_freed_memory()
    torch.manual_seed(0)
    table = ContentTable(ContentConfig(**settings), WIDTH).train()
    table.attach(make_content())
    backbone = SASRec(SASRecConfig(width=WIDTH, max_length=EVENTS), ITEMS, causal=True).train()
    parameters = [
        *table.encoder_parameters(),
        *table.projection_parameters(),
        *(p for name, p in backbone.named_parameters() if not name.startswith("item_table")),
    ]
    optimiser = torch.optim.Adam(parameters, lr=1e-3, foreach=True)
    device, precision = torch.device("cpu"), choose_precision("auto", torch.device("cpu"))
    draw = np.random.default_rng(1)
    chance_V = 1 / np.arange(1, ITEMS + 1)
    started = time.perf_counter()
    table.vectors(torch.tensor([1]))  # Texts become tokens, and frozen encoders are asked, once.
    once = time.perf_counter() - started
    before = peak_memory_mb()
    seconds, encoded = [], []
    for _ in range(STEPS):
        drawn = draw.choice(ITEMS, (PEOPLE, EVENTS), p=chance_V / chance_V.sum()) + 1
        item_BL = torch.from_numpy(drawn)
        started = time.perf_counter()
        with autocast(device, precision):
            if way == "encoding":
                item_U = torch.from_numpy(draw.permutation(ITEMS)[:ENCODED] + 1)
                loss = table.vectors(item_U).square().sum()
                encoded.append(ENCODED)
            else:
                every = way == "every slot"
                items = every_slot(table, item_BL) if every else table.of(item_BL)
                encoded.append(item_BL.numel() if every else len(items.item_U))
                length_B = torch.full((PEOPLE,), EVENTS - 1)
                hidden_BLD = backbone(History(item_BL[:, :-1], length_B), items)
                next_BLD = items(item_BL[:, 1:])
                margin_BL = (hidden_BLD * (next_BLD - next_BLD.roll(1, 0))).sum(-1)
                loss = F.softplus(-margin_BL).mean()
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()
        seconds.append(time.perf_counter() - started)
    per_step = ENCODED if way == "encoding" else PEOPLE
    return {
        "rate": per_step * STEPS / sum(seconds),
        "items": statistics.mean(encoded),
        "mb": peak_memory_mb() - before,
        "once": once,
    }


def run(case: str, threads: str) -> dict[str, float]:
    command = [sys.executable, __file__, threads, "--case", case]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    figures: dict[str, float] = json.loads(done.stdout)
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("threads", nargs="?", type=int, default=torch.get_num_threads())
    parser.add_argument("--json", action="store_true", help="one object: figures by case")
    parser.add_argument("--case", choices=CASES, help="one case, in this process")
    options = parser.parse_args()
    if options.case:
        print(json.dumps(measure(options.case, options.threads)))
        return
    rounds = [{case: run(case, str(options.threads)) for case in CASES} for _ in range(ROUNDS)]
    found = {
        case: {key: statistics.median(one[case][key] for one in rounds) for key in rounds[0][case]}
        for case in CASES
    }
    if options.json:
        print(json.dumps(found))
        return
    for case, one in found.items():
        if case.endswith("encoding"):
            print(f"{case}: {one['rate']:,.0f} items/s forth and back, {one['mb']:,.0f} MB")
            continue
        usual = found[f"{case.partition(',')[0]}, every slot"]
        once = f", {one['once']:.1f} s once" if case.endswith("frozen") else ""
        print(
            f"{case}: {one['rate']:,.0f} seqs/s, {one['rate'] / usual['rate']:.2f}x every slot; "
            f"{one['items']:,.0f} items a step; {one['mb']:,.0f} MB{once}"
        )


if __name__ == "__main__":
    main()
