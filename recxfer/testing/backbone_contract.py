"""Contract tests of backbones: what they read, what they declare, what methods do with that.

Shape letters: B batch, L length, D width, V items.
"""

import inspect
from collections.abc import Iterator, Mapping
from itertools import product
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from typing_extensions import override

from recxfer.data.history import COLUMNS, History
from recxfer.models.adapters.low_rank import add_low_rank
from recxfer.models.adapters.ownership import kernels, own_kernels, whole_state
from recxfer.models.adapters.patches import PatchedSublayer, graft
from recxfer.models.backbones.contract import TOKEN_ROOM, Backbone
from recxfer.testing.settings_contract import SettingsContract

L, V = 10, 30


class BackboneContract(SettingsContract):
    """Contract tests of a backbone; a subclass says which, and with which settings."""

    backbone: ClassVar[type[Backbone]]

    settings: ClassVar[Mapping[str, Any]] = {}
    """Beside `width`, `max_length` and `dropout`: a subclass for each way to build a block."""

    def test_it_is_a_concrete_backbone(self) -> None:
        """Nothing abstract is left."""
        assert issubclass(self.backbone, Backbone)
        assert not inspect.isabstract(self.backbone)

    def test_it_reads_columns_that_there_are(self) -> None:
        """Items among them: that is what the item table is for."""
        assert "item" in self.backbone.inputs
        assert self.backbone.inputs <= COLUMNS.keys()

    def test_a_causal_one_does_not_see_the_future(self) -> None:
        """A position reads itself and earlier ones."""
        backbone = self._build()
        history = self._histories()
        before = backbone(history)
        after = backbone(_changed(history, 6))
        torch.testing.assert_close(before[:, :6], after[:, :6])
        assert (before[:, 6:] - after[:, 6:]).abs().amax(-1).gt(1e-4).any()

    def test_another_one_sees_the_future_or_says_that_it_never_does(self) -> None:
        """`causal_only` is refused by `Backbone` itself, in a message that names it."""
        if self.backbone.causal_only:
            try:
                self._build(causal=False)
            except ValueError as error:
                assert "causal only" in str(error)
                return
            raise AssertionError("a causal only backbone was built to look both ways")
        backbone = self._build(causal=False)
        history = self._histories()
        before = backbone(history)
        after = backbone(_changed(history, 6))
        assert (before[:, 5] - after[:, 5]).abs().max() > 1e-4

    def test_padding_changes_nothing(self) -> None:
        """Whatever stands behind the end of a history is padding, even an item."""
        for backbone in self._both_ways():
            history = self._histories(1).first(torch.tensor([5]))
            alone = backbone(history.trim())
            behind_L = torch.tensor([0] * 5 + [0, 0, 7, 0] + [0] * (L - 9))
            padded = backbone(history.with_items(history.item_BL + behind_L))[:, :5]
            torch.testing.assert_close(alone, padded, atol=1e-5, rtol=1e-4)

    def test_an_empty_history_stays_finite(self) -> None:
        """Length 0 comes up in tasks that start from nothing."""
        for backbone in self._both_ways():
            hidden = backbone(self._histories(2).first(torch.tensor([0, 0])))
            assert hidden.isfinite().all()

    def test_it_is_its_parts_one_after_the_other(self) -> None:
        """Methods that go through the blocks themselves rely on it."""
        for backbone in self._both_ways():
            history = self._histories()
            hidden_BLD = backbone.enter(backbone.embed(history))
            for block in backbone.residual_blocks:
                hidden_BLD = block(hidden_BLD, history.real_BL)
            assert hidden_BLD.shape == (*history.item_BL.shape, backbone.width)
            assert torch.equal(backbone.above(hidden_BLD), backbone(history))

    def test_the_longest_history_is_known_before_anything_is_built_and_can_be_read(self) -> None:
        """With the tokens that a method may put beside it."""
        config = self.backbone.config_type(max_length=L, **self.settings)
        longest = self.backbone.longest_history(config)
        assert longest is None or longest <= config.max_length
        backbone = self._build()
        assert backbone.longest == self.backbone.longest_history(backbone.config)
        read = (backbone.longest or 5 * L) + TOKEN_ROOM
        embedded_BLD = torch.randn(1, read, backbone.width)
        assert backbone.encode(embedded_BLD, torch.tensor([read])).isfinite().all()

    def test_every_parameter_of_a_block_is_a_kernel_a_bias_or_the_scale_of_a_norm(self) -> None:
        """What is not declared would be frozen silently by methods that train parts."""
        for block in self._build().residual_blocks:
            assert block.sublayers
            parameters = dict(block.named_parameters())
            matrices = {n for n, parameter in parameters.items() if parameter.dim() >= 2}
            assert set(block.kernels) == matrices
            assert len(block.kernels) == len(matrices)
            scales = {
                f"{norm}.{n}"
                for norm, module in zip(block.norms, block.norm_modules(), strict=True)
                for n, _ in module.named_parameters()
            } - set(block.biases)
            assert set(block.biases) | scales == parameters.keys() - matrices
            of_sublayers = {id(p) for s in block.sublayer_modules() for p in s.parameters()}
            of_norms = {id(p) for norm in block.norm_modules() for p in norm.parameters()}
            assert of_sublayers | of_norms == {id(p) for p in parameters.values()}
            assert not of_sublayers & of_norms

    def test_every_bias_is_declared(self) -> None:
        """By name, those outside the blocks included."""
        backbone = self._build()
        named = {n: p for n, p in backbone.named_parameters() if "bias" in n.rpartition(".")[2]}
        assert [id(p) for p in backbone.biases()] == [id(p) for p in named.values()]
        assert named

    def test_a_low_rank_update_reaches_every_kernel(self) -> None:
        """`lora`: the layer reads its kernel as an attribute at every call."""
        backbone = self._build()
        history = self._histories()
        before = backbone(history)
        names = [weight.name for weight in backbone.kernels()]
        updates = add_low_rank(backbone, 2, 4.0)
        assert len(updates) == len(names) == sum(len(b.kernels) for b in backbone.residual_blocks)
        assert torch.equal(backbone(history), before)
        for name, update in zip(names, updates, strict=True):
            with torch.no_grad():
                update.up.normal_()
            assert not torch.equal(backbone(history), before), name
            with torch.no_grad():
                update.up.zero_()
        backbone(history).square().sum().backward()
        assert all(update.up.grad is not None and update.up.grad.any() for update in updates)

    def test_every_kernel_can_be_owned(self) -> None:
        """`conure`: what a task does not own reads as zero."""
        backbone, other = self._build(), self._build()
        history = self._histories()
        own_kernels(backbone, None, 1)
        assert torch.equal(backbone(history), other(history))
        assert [k.name for k in kernels(backbone)] == [weight.name for weight in other.kernels()]
        assert whole_state(backbone).keys() == other.state_dict().keys()
        for kernel in kernels(backbone):
            kernel.owned.prune(kernel.weight, kernel.weight.numel(), 1.0)
        # Nothing is kept: what a layer reads of its kernels is zero.
        assert not any(weight.tensor.any() for weight in backbone.kernels())
        assert not torch.equal(backbone(history), other(history))

    def test_every_parameter_learns(self) -> None:
        """Each has a gradient that is not zero."""
        backbone = self._build()
        history = self._histories()
        backbone(history).pow(3).sum().backward()
        for name, parameter in backbone.named_parameters():
            assert parameter.grad is not None, name
            assert parameter.grad.any(), name

    def test_patches_are_grafted_on_its_sublayers_and_learn(self) -> None:
        """`peterrec` and `houlsby`, in all their ways."""
        for insertion, per_block, rows in product(("serial", "parallel"), (1, 2, None), (1, 3)):
            backbone = self._build()
            history = self._histories(rows)
            before = backbone(history)
            patches = graft(backbone, 2, insertion, per_block)  # type: ignore[arg-type]  # product forgets literals
            most = per_block or 99
            grafted = sum(min(most, len(block.sublayers)) for block in backbone.residual_blocks)
            assert len(patches) == grafted
            torch.testing.assert_close(backbone(history), before)
            with torch.no_grad():
                for patch in patches:
                    patch.up.weight.normal_()
            # Autograd refuses a gradient for which an overwritten tensor is needed.
            backbone(history).square().sum().backward()
            gradients = [p.grad for patch in patches for p in patch.parameters()]
            assert all(gradient is not None and gradient.any() for gradient in gradients)

    def test_patches_have_the_gradients_of_what_they_compute(self) -> None:
        """A serial patch writes over a sublayer's output; the same, written out, does not."""
        backbone = self._build().double()
        history = self._histories()
        for patch in graft(backbone, 2, "serial", None):
            for weight in patch.double().parameters():
                nn.init.normal_(weight, std=0.3)
        learned = list(backbone.parameters())
        quick = torch.autograd.grad(backbone(history).pow(2).sum(), learned)
        for block in backbone.residual_blocks:
            for attribute in block.sublayers:
                setattr(block, attribute, _WrittenOut(getattr(block, attribute)))
        plain = torch.autograd.grad(backbone(history).pow(2).sum(), learned)
        for one, other in zip(quick, plain, strict=True):
            torch.testing.assert_close(one, other)

    def test_special_items_are_distinct(self) -> None:
        """Padding, mask and unknown are no items; the rows of items are a view of the table."""
        backbone = self._build()
        specials = {0, backbone.mask_item, backbone.unknown_item}
        assert len(specials) == 3
        assert not specials & set(range(1, backbone.num_items + 1))
        assert backbone.item_table.num_items == backbone.num_items
        assert backbone.item_weight_VD.shape == (V, backbone.width)
        rows = {parameter.untyped_storage().data_ptr() for parameter in backbone.parameters()}
        assert backbone.item_weight_VD.untyped_storage().data_ptr() in rows

    def test_padding_is_the_zero_vector_and_items_differ_from_the_start(self) -> None:
        """Items are drawn from a narrow normal distribution."""
        config = self.backbone.config_type(width=8, max_length=L, **self.settings)
        backbone = self.backbone(config, V, causal=True)
        assert not backbone.item_table(torch.zeros(1, 1, dtype=torch.int64)).any()
        assert 0.01 < float(backbone.item_weight_VD.detach().std()) < 0.03

    @property
    @override
    def _type(self) -> type[Backbone]:
        return self.backbone

    def _build(self, *, causal: bool = True) -> Backbone:
        torch.manual_seed(0)
        sizes = {"width": 16, "max_length": L + 2}
        if "dropout" in self.backbone.config_type.model_fields:
            sizes["dropout"] = 0
        config = self.backbone.config_type.model_validate({**sizes, **self.settings})
        backbone = self.backbone(config, V, causal=causal).eval()
        # The published initialisations are so small that a leak could hide below rounding.
        with torch.no_grad():
            for parameter in backbone.parameters():
                parameter.copy_(torch.randn_like(parameter) * 0.3)
        return backbone

    def _histories(self, rows: int = 3) -> History:
        """Full histories of random items, a day between the events where times are read."""
        generator = torch.Generator().manual_seed(1)
        item_BL = torch.randint(1, V + 1, (rows, L), generator=generator)
        time_BL = (1_000_000_000 + 86_400 * torch.arange(L)).expand(rows, L)
        length_B = torch.full((rows,), L)
        return History(item_BL, length_B, time_BL if "time" in self.backbone.inputs else None)

    def _both_ways(self) -> Iterator[Backbone]:
        yield self._build()
        if not self.backbone.causal_only:
            yield self._build(causal=False)


class _WrittenOut(nn.Module):
    """A patched sublayer that overwrites nothing."""

    def __init__(self, patched: PatchedSublayer) -> None:
        super().__init__()
        self.sublayer, self.patch = patched.sublayer, patched.patch

    @override
    def forward(self, hidden_BLD: Tensor, real_BL: Tensor) -> Tensor:
        """The sublayer's output and the patch of it."""
        mapped_BLD: Tensor = self.sublayer(hidden_BLD, real_BL)
        patched_BLD: Tensor = mapped_BLD + self.patch(mapped_BLD)
        return patched_BLD


def _changed(history: History, place: int) -> History:
    """The same histories with another item at one place."""
    item_BL = history.item_BL.clone()
    item_BL[:, place] = history.item_BL[:, place] % V + 1
    return history.with_items(item_BL)
