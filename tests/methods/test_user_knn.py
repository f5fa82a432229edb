"""user-kNN against a brute force over Python sets."""

from collections import Counter
from dataclasses import replace

import pytest
import torch

from recxfer.data.dataset import Dataset
from recxfer.foundation.names import MASK, PAD, UNKNOWN
from recxfer.methods.user_knn import TIE
from recxfer.runs.open import open_run
from recxfer.runs.run import task_rows
from recxfer.testing.commands import transferred

CPU = torch.device("cpu")


def adapt(base, books, run, *settings):
    made = transferred(base, books, run, "user-knn", "cross-domain", *settings)
    return open_run(made.path, CPU)


@pytest.mark.parametrize("neighbours", [1, 7, 500])
def test_scores_are_the_votes_of_the_nearest(neighbours, bases, films, books, tmp_path):
    run = adapt(bases["sasrec", "next-item"], books, tmp_path / "run", f"neighbours={neighbours}")
    source, target = Dataset(films), Dataset(books)
    train = task_rows(run.task, source, target, "train", run.max_length, {"item"})
    batch = train.batch(torch.arange(len(train)))
    histories, choices, popularity = {}, {}, Counter(range(target.num_items))
    for row, user in enumerate(train.user_R.tolist()):
        items = set(batch.history.item_BL[row, : int(batch.history.length_B[row])].tolist())
        histories[user] = histories.get(user, set()) | items
        choices.setdefault(user, set()).add(int(batch.target_B[row]))
        popularity[int(batch.target_B[row])] += 1
    total = sum(popularity.values())

    rows = run.rows("test")
    cases = rows.batch(torch.arange(len(rows)))
    found = run.learner.output(run.model).scores(run.learner.represent(run.model, cases))
    for row in range(len(rows)):
        mine = set(cases.history.item_BL[row, : int(cases.history.length_B[row])].tolist())
        cosine = {
            user: len(mine & theirs) / max(len(mine) * len(theirs), 1) ** 0.5
            for user, theirs in histories.items()
        }
        kept = sorted(cosine.values(), reverse=True)[:neighbours]
        # Who of several equally near people votes is open: compare where it is not.
        border = sum(value == pytest.approx(kept[-1]) for value in cosine.values())
        if kept[-1] > 0 and border > sum(value == pytest.approx(kept[-1]) for value in kept):
            continue
        expected = torch.zeros(target.num_items)
        for user, value in cosine.items():
            if value > 0 and value >= kept[-1] - 1e-9:
                expected[list(choices[user])] += value
        expected += torch.tensor(
            [TIE * torch.tensor(popularity[v] / total).log() for v in range(target.num_items)]
        )
        torch.testing.assert_close(found[row], expected, atol=1e-5, rtol=1e-4)


def test_people_are_sampled_where_there_are_many(bases, books, tmp_path):
    run = adapt(bases["sasrec", "next-item"], books, tmp_path / "run", "people=9")
    assert run.model.num_users == 9
    assert run.learner.output(run.model).weight_VD.shape[1] == 9


@pytest.mark.parametrize("special", [MASK, UNKNOWN])
def test_hidden_and_unknown_items_have_no_neighbours(special, bases, books, tmp_path):
    run = adapt(bases["sasrec", "next-item"], books, tmp_path / "run")
    rows = run.rows("test")
    cases = rows.batch(torch.arange(len(rows)))
    item_BL = cases.history.item_BL
    hidden_BL = torch.zeros_like(item_BL, dtype=torch.bool)
    hidden_BL[:, 0] = True

    def cosines(instead):
        history = replace(cases.history, item_BL=item_BL.masked_fill(hidden_BL, instead))
        return run.learner.represent(run.model, replace(cases, history=history))

    assert not torch.equal(cosines(special), run.learner.represent(run.model, cases))
    torch.testing.assert_close(cosines(special), cosines(PAD), atol=0, rtol=0)
