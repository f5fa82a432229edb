"""RecBole's SASRec on ML-1M for a few batches; prints one JSON line. Runs in RecBole's environment.

Usage: python peer_recbole.py FOLDER_OF_ml-1m_ATOMIC_FILES BATCHES THREADS

RecBole 1.2.1 wants numpy 1.26.4, pandas 2.3.3, scipy 1.17.1 and setuptools < 81. It learns from
every prefix of a history as an example of its own: a history is as many as it has targets.
"""

import json
import sys
import time
from pathlib import Path

import torch
from recbole.config import Config
from recbole.data import create_dataset, data_preparation
from recbole.model.sequential_recommender import SASRec
from recbole.utils import init_seed


def main() -> None:
    folder, batches, threads = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    sys.argv = sys.argv[:1]
    torch.set_num_threads(threads)
    config = Config(
        model="SASRec",
        dataset="ml-1m",
        config_dict={
            "data_path": str(folder.parent),
            "load_col": {"inter": ["user_id", "item_id", "timestamp"]},
            "MAX_ITEM_LIST_LENGTH": 200,
            "hidden_size": 64,
            "inner_size": 256,
            "n_layers": 2,
            "n_heads": 2,
            "loss_type": "CE",
            "train_neg_sample_args": None,
            "train_batch_size": 256,
            "eval_args": {"split": {"LS": "valid_and_test"}, "order": "TO", "mode": "full"},
            "use_gpu": False,
            "state": "ERROR",
        },
    )
    init_seed(0, True)
    dataset = create_dataset(config)
    train, _, _ = data_preparation(config, dataset)
    model = SASRec(config, train.dataset)
    optimiser = torch.optim.Adam(model.parameters(), lr=1e-3)
    examples, seconds = 0, 0.0
    for number, batch in enumerate(train):
        started = time.perf_counter()
        optimiser.zero_grad()
        model.calculate_loss(batch).backward()
        optimiser.step()
        if number:  # the first step warms up
            examples, seconds = examples + len(batch), seconds + time.perf_counter() - started
        if number == batches:
            break
    per_history = len(train.dataset) / (dataset.user_num - 1)
    print(
        json.dumps(
            {
                "examples_per_second": examples / seconds,
                "examples_per_history": per_history,
                "histories_per_second": examples / seconds / per_history,
            }
        )
    )


if __name__ == "__main__":
    main()
