"""`uaf`: degenerate policies are their baselines to the bit; what is decided, kept and refused."""

import itertools

import pytest
import torch

from recxfer.data.rows import Rows
from recxfer.evaluation.ranking import class_scores, recommend
from recxfer.foundation import tensors
from recxfer.foundation.errors import ConfigError, UsageError
from recxfer.foundation.names import CHECKPOINT
from recxfer.foundation.rng import Rng
from recxfer.methods.task import Task
from recxfer.methods.uaf import UAF, UAFConfig, UAFLearner
from recxfer.runs.open import open_base, open_run
from recxfer.testing.commands import prepared, pretrained, transferred

CPU = torch.device("cpu")
POLICIES = ("hard", "soft", "rl", "random", "layer-dropout")


def learn(base, dataset, run, task="profile:taste", *settings, method="uaf", epochs=3, **options):
    words = (method, task, "optim.weight_decay=0.1", *settings)
    return transferred(base, dataset, run, *words, epochs=epochs, **options)


def scores(run):
    opened = open_run(run, CPU)
    if not opened.task.ranks_items:
        return class_scores(opened.learner, opened.model, opened.rows("test"), CPU)
    return recommend(opened.learner, opened.model, opened.rows("all"), 10, device=CPU).score_RK


@pytest.fixture(scope="module")
def dropping(films, tmp_path_factory):
    """Bases of three blocks that train with dropout, for whatever follows them."""
    folder = tmp_path_factory.mktemp("dropping")
    for name, shape in (("nextitnet", "dilations=[1,4,1]"), ("sasrec", "num_blocks=3")):
        settings = ["width=16", "max_length=20", "dropout=0.2", shape]
        pretrained(films, folder / name, *settings, backbone=name, epochs=2, batch_size=None)
    return folder


@pytest.mark.parametrize("backbone", ["nextitnet", "sasrec"])
@pytest.mark.parametrize(
    ("settings", "method", "theirs", "readouts"),
    [
        (["policy=finetune"], "finetune", [], ("mean", "token")),
        (["policy=frozen"], "probe", [], ("mean", "last")),
        (["policy=fixed", "blocks=1,2"], "last-layers", ["layers=2"], ("mean", "last")),
        (["policy=fixed", "blocks=0,1,2"], "last-layers", ["layers=3"], ("mean", "last")),
    ],
)
def test_degenerate_policies_are_their_baselines_to_the_bit(
    backbone, settings, method, theirs, readouts, dropping, films, books, tmp_path
):
    tasks = (films, "profile:taste"), (books, "cross-domain")
    for (dataset, task), readout in zip(tasks, readouts, strict=True):
        read, base = f"readout={readout}", dropping / backbone
        mine = learn(base, dataset, tmp_path / f"uaf-{readout}", task, *settings, read)
        known = learn(
            base, dataset, tmp_path / f"known-{readout}", task, *theirs, read, method=method
        )
        assert mine.validation == known.validation
        assert mine.trained_parameters == known.trained_parameters
        assert torch.equal(scores(mine.path), scores(known.path))


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("task", ["profile:taste", "cross-domain"])
def test_policies_learn_and_decide_the_same_every_time(policy, task, bases, films, books, tmp_path):
    dataset = films if task.startswith("profile") else books
    base = bases["nextitnet", "next-item"]
    result = learn(base, dataset, tmp_path / "run", task, f"policy={policy}", epochs=15)
    opened = open_run(result.path, CPU)
    rows = opened.rows("test")
    everybody = rows.batch(torch.arange(len(rows)))
    with torch.no_grad():
        gates = opened.learner.gates(opened.model, everybody)
        again = opened.learner.gates(opened.model, everybody)
        vectors = opened.learner.represent(opened.model, everybody)
        under = opened.learner.represent_under(opened.model, everybody, gates)
    assert torch.equal(gates, again)
    assert torch.equal(vectors, under)
    assert gates.shape == (len(rows), 4)
    assert bool(((gates >= 0) & (gates <= 1)).all())
    if policy not in ("soft", "layer-dropout"):
        assert set(gates.unique().tolist()) <= {0.0, 1.0}
    if task == "cross-domain":
        lists = recommend(opened.learner, opened.model, opened.rows("all"), 5, device=CPU)
        # Ids say which parity a book is of, and a reader.
        ids = opened.target.item_ids.gather((lists.item_RK - 1).flatten().tolist())
        book = torch.tensor([int(name[1:]) % 2 for name in ids]).view(lists.item_RK.shape)
        reader = torch.tensor([int(name[1:]) % 2 for name in opened.user_ids])[:, None]
        assert float((book == reader).double().mean()) > 0.9
    else:
        right = class_scores(opened.learner, opened.model, rows, CPU).argmax(1) == rows.target_R
        assert float(right.double().mean()) >= 0.9


@pytest.mark.parametrize("policy", POLICIES)
def test_a_delta_holds_what_was_trained_and_nothing_else(policy, bases, films, tmp_path):
    base = bases["sasrec", "next-item"]
    learn(base, films, tmp_path / "run", "profile:taste", f"policy={policy}", epochs=1)
    parts, header = tensors.load(tmp_path / "run" / CHECKPOINT)
    assert header["kind"] == "delta"
    assert {name.split(".")[0] for name in parts} == {"twins", "user"} | (
        {"policy"} if policy in ("hard", "soft", "rl") else set()
    )
    assert {name for name in parts if name.startswith("user.")} == {
        "user.head.weight", "user.head.bias",
    }  # fmt: skip
    assert not any("item_table" in name for name in parts)


def test_fixed_policies_hold_the_blocks_that_train(bases, films, tmp_path):
    base = bases["nextitnet", "next-item"]
    learn(base, films, tmp_path / "run", "profile:taste", "policy=fixed", "blocks=0,3", epochs=1)
    parts, _ = tensors.load(tmp_path / "run" / CHECKPOINT)
    assert {name.split(".")[2] for name in parts if name.startswith("twins.")} == {"0", "3"}
    learn(base, films, tmp_path / "none", "profile:taste", "policy=frozen", epochs=1)
    assert set(tensors.load(tmp_path / "none" / CHECKPOINT)[0]) == {
        "user.head.weight", "user.head.bias",
    }  # fmt: skip


def test_a_trained_table_is_one_for_histories_and_one_for_the_policy(bases, films, tmp_path):
    base = bases["sasrec", "next-item"]
    for network in ("conv", "gru"):
        run = tmp_path / network
        learn(base, films, run, "profile:taste", f"network={network}", "item_table=trained")
        parts, _ = tensors.load(run / CHECKPOINT)
        tables = [name for name in parts if name.endswith("item_table.weight")]
        assert tables == ["policy.item_table.weight", "user.backbone.item_table.weight"]
        assert "user.backbone.position_table.weight" in parts
        start, _ = tensors.load(base / CHECKPOINT)
        for name in tables:
            assert not torch.equal(parts[name], start["backbone.item_table.weight"])


class Watched(UAFLearner):
    """Notes the temperature of each step, and whether it learns from rewards."""

    def loss(self, model, batch, rng):
        self.seen.append((round(self._temperature, 6), self._rewarded))
        return super().loss(model, batch, rng)


@pytest.mark.parametrize("policy", ["hard", "rl"])
def test_the_temperature_falls_and_rewards_come_after_the_warm_up(
    policy, bases, films, tmp_path, monkeypatch
):
    Watched.seen = []
    monkeypatch.setattr("recxfer.methods.uaf.UAFLearner", Watched)
    settings = [f"policy={policy}", "warm_up=0.5", "temperature=8", "final_temperature=2"]
    learn(
        bases["nextitnet", "next-item"], films, tmp_path / "r", "profile:taste", *settings, epochs=4
    )
    steps = len(Watched.seen)
    warm = [t for t, rewarded in Watched.seen if not rewarded]
    assert warm[0] == 8
    assert warm == sorted(warm, reverse=True)
    assert len(warm) == (steps if policy == "hard" else steps // 2)
    factors = [low / high for high, low in itertools.pairwise(warm)]
    assert max(factors) == pytest.approx(min(factors), rel=1e-4)
    assert warm[-1] * factors[0] == pytest.approx(2, rel=1e-4)
    header = tensors.read_header(tmp_path / "r" / CHECKPOINT)
    assert header["method"]["config"]["temperature"] == 8


@pytest.mark.parametrize("kind", ["cross-domain", "profile"])
def test_the_loss_by_reward_gives_the_policy_the_exact_gradient(kind, bases, monkeypatch):
    """Over all decisions of a row, sum pi(a) grad loss(a) is -grad sum pi(a) R(a)."""
    base = open_base(bases["nextitnet", "next-item"], Rng(0)).base
    task = Task("cross-domain", 30) if kind == "cross-domain" else Task("profile", 3, "group")
    config = UAFConfig(policy="rl", reward_top=4, reward_negatives=8, reward_cost=0.5)
    adapted = UAF(config).adapt(base, task, Rng(0))
    learner, model = adapted.learner, adapted.model.eval()
    generator = torch.Generator().manual_seed(0)
    for parameter in model.twins.parameters():  # copies that matter
        parameter.data += 0.5 * torch.randn(parameter.shape, generator=generator)
    model.user.head.weight.data.normal_(generator=generator)
    bias = model.policy.linear.bias
    bias.data = torch.tensor([0.3, -0.8, 0.1, 1.2])
    rows = Rows(
        columns={"item": torch.randint(1, 25, (48,), generator=generator).int()},
        start_R=torch.arange(8) * 6,
        length_R=torch.full((8,), 6),
        user_R=torch.arange(8),
        target_R=torch.randint(task.num_outputs, (8,), generator=generator),
    )
    learner.observe(model, rows)
    learner.reinforce(0.0)
    actions = torch.cartesian_prod(*[torch.tensor([0.0, 1.0])] * 4)
    rewarded = set()
    for row in range(8):
        batch, rng = rows.batch(torch.tensor([row])), Rng(row)
        logit = model.logits(batch)
        chance = torch.where(actions > 0.5, logit.sigmoid(), 1 - logit.sigmoid()).prod(1)
        with torch.no_grad():
            vectors = [model.vectors(batch, action[None], "by-path") for action in actions]
            found = torch.cat(learner._found(model, vectors, batch.target_B, rng))
        missing = 1 - actions.mean(1)
        earned = torch.where(found, 1 - 0.5 * missing.square(), torch.tensor(-0.5))
        (known,) = torch.autograd.grad(-(chance * earned).sum(), bias)
        mean = torch.zeros(4)
        for action, weight in zip(actions, chance.detach(), strict=True):
            monkeypatch.setattr("recxfer.methods.uaf.draw", lambda *_, a=action: a[None])
            loss = learner.loss(model, batch, rng)
            mean += weight * torch.autograd.grad(loss, bias)[0]
        assert torch.allclose(mean, known, atol=1e-5)
        rewarded |= set(found.tolist())
    assert rewarded == {True, False}, "decisions that earn and decisions that do not"


@pytest.mark.parametrize("policy", ["hard", "soft", "rl"])
def test_people_without_a_history_get_a_decision_and_a_score(policy, bases, films, tmp_path):
    learn(bases["sasrec", "next-item"], films, tmp_path / "r", "profile:taste", f"policy={policy}")
    opened = open_run(tmp_path / "r", CPU)
    rows = opened.rows("test")
    empty = Rows(rows.columns, rows.start_R, torch.zeros_like(rows.length_R), rows.user_R)
    batch = empty.batch(torch.arange(len(empty)))
    with torch.no_grad():
        gates = opened.learner.gates(opened.model, batch)
        found = opened.learner.output(opened.model).scores(
            opened.learner.represent(opened.model, batch)
        )
    assert torch.equal(gates, gates[:1].expand_as(gates))
    assert bool(torch.isfinite(found).all())


def test_training_on_people_without_histories_works(world, bases, tmp_path):
    """Half of the readers are unknown to the films: their histories are empty."""
    lines = (world / "books.csv").read_text().splitlines()
    strangers = [line.replace("u", "stranger", 1) for line in lines[1::2]]
    (tmp_path / "books.csv").write_text("\n".join([lines[0], *lines[1:], *strangers]))
    prepared(tmp_path / "books.csv", tmp_path / "books", links=[world / "films"], split="users")
    for policy in ("hard", "rl", "random"):
        run = tmp_path / policy
        learn(
            bases["nextitnet", "next-item"], tmp_path / "books", run, "cross-domain",
            f"policy={policy}", epochs=1,
        )  # fmt: skip
        assert bool(torch.isfinite(scores(run)).all())


@pytest.mark.parametrize(
    ("backbone", "shape"), [("nextitnet", "dilations=[1]"), ("sasrec", "num_blocks=1")]
)
def test_a_base_of_one_block_has_one_decision(backbone, shape, films, tmp_path):
    settings = ["width=8", "max_length=20", shape]
    options = {"backbone": backbone, "epochs": 1, "batch_size": None, "lr": None}
    pretrained(films, tmp_path / "base", *settings, **options)
    for policy in ("hard", "soft", "rl", "random", "finetune", "frozen"):
        run = tmp_path / policy
        learn(tmp_path / "base", films, run, "profile:taste", f"policy={policy}", epochs=2)
        opened = open_run(run, CPU)
        rows = opened.rows("test")
        gates = opened.learner.gates(opened.model, rows.batch(torch.arange(len(rows))))
        assert gates.shape == (len(rows), 1)
        assert bool(torch.isfinite(scores(run)).all())


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        (["temperature=0"], r"method\.temperature .*greater than 0, found 0"),
        (["temperature=-1"], r"method\.temperature"),
        (["temperature=1000"], r"less than or equal to 100, found 1000"),
        (["final_temperature=0"], r"method\.final_temperature"),
        (["temperature=1", "final_temperature=2"], "final_temperature 2 is above temperature 1"),
        (["temperature=nan"], r"method\.temperature"),
        (["policy=sometimes"], r"method\.policy .*'hard'"),
        (["policy=fixed"], "blocks go together"),
        (["blocks=0"], "blocks go together"),
        (["policy=fixed", "blocks=-1"], r"method\.blocks"),
        (["policy=fixed", "blocks=a,b"], r"method\.blocks"),
        (["policy=fixed", "blocks=0,9"], "names block 9, but the base has 4"),
        (["rate=1.5"], r"method\.rate"),
        (["warm_up=1"], r"method\.warm_up"),
    ],
)
def test_settings_out_of_range_are_refused_and_leave_nothing(
    settings, told, bases, films, tmp_path
):
    with pytest.raises(ConfigError, match=told) as caught:
        learn(bases["nextitnet", "next-item"], films, tmp_path / "run", "profile:taste", *settings)
    assert caught.value.exit_code == 2
    assert list(tmp_path.iterdir()) == []


def test_next_item_is_refused_with_what_there_is(bases, films, tmp_path):
    with pytest.raises(UsageError, match="knows tasks cross-domain, profile, not next-item"):
        learn(bases["nextitnet", "next-item"], films, tmp_path / "run", "next-item")


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("steps", [2, 9, 20])
def test_stopped_anywhere_it_ends_in_the_same_bytes(
    policy, steps, dropping, films, tmp_path, stopped
):
    def adapt(name, **options):
        words = (dropping / "nextitnet", films, tmp_path / name, "profile:taste")
        learn(*words, f"policy={policy}", epochs=4, **options)
        return (tmp_path / name / CHECKPOINT).read_bytes()

    whole = adapt("whole")
    with stopped(steps):
        adapt("stopped")
    assert adapt("stopped", resume=True) == whole


def test_killed_between_warm_up_and_reward_it_ends_in_the_same_bytes(
    dropping, films, tmp_path, resumes_as_if_never_killed, dies_after
):
    resumes_as_if_never_killed(
        dies_after(UAF, "warm-up"), dropping / "nextitnet", films, tmp_path / "run",
        "--method", "uaf", "--task", "profile:taste", "--epochs", "4", "--threads", "1",
        "--set", "policy=rl",
    )  # fmt: skip
