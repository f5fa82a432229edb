"""What decides a pretrained run."""

import pytest

from recxfer.commands import pretrain
from recxfer.foundation.config import Settings
from recxfer.foundation.errors import ConfigError, UsageError
from recxfer.methods.objectives.item_objective import ItemLearner
from recxfer.models.backbones.sasrec import SASRec
from recxfer.testing.commands import pretrained

SMALL = ["backbone.width=8", "optim.epochs=1"]


def config(films, run, *settings):
    return pretrain.resolve(films, run, settings=Settings.read(None, [*SMALL, *settings]))


def test_a_share_of_the_people_is_all_that_is_learned_from(films, tmp_path, monkeypatch):
    met = []
    observe = ItemLearner.observe

    def watched(self, model, rows):
        met.append(set(rows.user_R.tolist()))
        observe(self, model, rows)

    monkeypatch.setattr(ItemLearner, "observe", watched)
    for share in (0.25, 0.5, 1.0):
        pretrained(films, tmp_path / str(share), *SMALL, f"data.train_share={share}")
    quarter, half, whole = met
    assert quarter < half < whole
    assert len(quarter) == round(0.25 * len(whole))


@pytest.mark.parametrize("share", ["0", "1.1"])
def test_a_share_is_above_nothing_and_at_most_all(films, tmp_path, share):
    with pytest.raises(ConfigError, match="train_share"):
        config(films, tmp_path / "run", f"data.train_share={share}")


def test_a_causal_backbone_is_refused_where_an_objective_looks_both_ways(monkeypatch, tmp_path):
    """Before anything is read: there is no such dataset."""
    monkeypatch.setattr(SASRec, "causal_only", True)
    with pytest.raises(UsageError, match="sasrec can only look to the left") as refused:
        pretrain.resolve(
            tmp_path / "none", tmp_path / "run", settings=Settings.read(), objective="cloze"
        )
    assert "nextitnet" in refused.value.hint
    assert "sasrec" not in refused.value.hint
