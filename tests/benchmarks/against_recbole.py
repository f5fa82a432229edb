"""Training speed beside RecBole's SASRec at the same setting: ratios from interleaved runs.

Usage: python tests/benchmarks/against_recbole.py DATASET ATOMIC_FOLDER RECBOLE_PYTHON [ROUNDS]

DATASET is `recxfer prepare movielens-1m DATASET`; ATOMIC_FOLDER holds the same ml-1m.inter;
RECBOLE_PYTHON is the interpreter of an environment with recbole==1.2.1. Both: ML-1M, width 64, two
blocks, two heads, inner width 256, histories of at most 200, batches of 256, full softmax.
A rate is whole histories learned from per second, validation not counted.
"""

import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

THREADS = 2
PEER_BATCHES = 12
SETTINGS = ["width=64", "num_blocks=2", "num_heads=2", "max_length=200", "windows=last"]


def ours(dataset: str, precision: str) -> float:
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "recxfer", "pretrain", dataset, f"{folder}/run", "--json"]
        command += ["--epochs", "1", "--batch-size", "256", "--threads", str(THREADS)]
        command += ["--precision", precision]
        for setting in SETTINGS:
            command += ["--set", setting]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    return float(json.loads(done.stdout)["sequences_per_second"])


def theirs(folder: str, python: str) -> float:
    peer = Path(__file__).with_name("peer_recbole.py")
    command = [python, str(peer), folder, str(PEER_BATCHES), str(THREADS)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return float(json.loads(done.stdout.splitlines()[-1])["histories_per_second"])


def main() -> None:
    dataset, folder, python = sys.argv[1:4]
    rounds = int(sys.argv[4]) if len(sys.argv) > 4 else 3
    for precision in ("auto", "fp32"):
        pairs = [(ours(dataset, precision), theirs(folder, python)) for _ in range(rounds)]
        ratios = [mine / peer for mine, peer in pairs]
        print(
            f"precision {precision}: ours {statistics.median(p[0] for p in pairs):.0f}, "
            f"RecBole {statistics.median(p[1] for p in pairs):.2f} histories/s; "
            f"ratio {statistics.median(ratios):.1f} ({min(ratios):.1f} to {max(ratios):.1f})"
        )


if __name__ == "__main__":
    main()
