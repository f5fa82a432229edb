"""Adaptors behind a frozen encoder, in place of its projection.

Hou et al., Towards Universal Sequence Representation Learning for Recommender Systems (UniSRec,
KDD 2022, arXiv 2206.05941), section 2.1.

Shape letters: M items at hand, N items to fit to, F features, D width, E experts, K directions.
"""

import torch
from torch import Tensor, nn
from typing_extensions import override

from recxfer.models.layers.dropout import Dropout

NOISE_FLOOR = 1e-2
"""Least standard deviation of the noise of a gate (release)."""

SMALLEST_VARIANCE = 1e-6
"""Directions with less than this share of the largest variance are taken for rounding."""


class WhiteningExperts(nn.Module):
    """A mixture of parametric whitenings with a noisy gate.

    Equations 2 to 4: z_e = (x - b_e) W_e for each expert e; z = sum_e g_e z_e, where
    g = softmax(x W_g + noise softplus(x W_n)), the noise standard normal, drawn in training only.
    """

    def __init__(self, features: int, width: int, num_experts: int, dropout: float) -> None:
        """Build it as the release does: shifts and gates at zero, matrices at random.

        Args:
            features: F.
            width: D.
            num_experts: E.
            dropout: of what experts read; the gate sees all. All experts share a mask, which in
                the release each draws for itself.
        """
        super().__init__()
        self.dropout = Dropout(dropout)
        self.shift_EF = nn.Parameter(torch.zeros(num_experts, features))
        self.weight_EFD = nn.Parameter(torch.randn(num_experts, features, width) * 0.02)
        self.gate_FE = nn.Parameter(torch.zeros(features, num_experts))
        self.noise_FE = nn.Parameter(torch.zeros(features, num_experts))

    def gates(self, feature_MF: Tensor) -> Tensor:
        """Compute how much each expert counts for each item, float32 (M, E); rows sum to 1."""
        with torch.autocast(feature_MF.device.type, enabled=False):
            logit_ME = feature_MF @ self.gate_FE
            if self.training:
                scale_ME = nn.functional.softplus(feature_MF @ self.noise_FE) + NOISE_FLOOR
                logit_ME = logit_ME + torch.randn_like(logit_ME) * scale_ME
            return logit_ME.softmax(-1)

    @override
    def forward(self, feature_MF: Tensor) -> Tensor:
        """Map features float32 (M, F) to vectors (M, D)."""
        gate_ME, read_MF = self.gates(feature_MF), self.dropout(feature_MF)
        # One expert at a time: all at once would hold E vectors of every item of a domain.
        vector_MD = feature_MF.new_zeros(feature_MF.shape[0], self.weight_EFD.shape[-1])
        for expert, weight_FD in enumerate(self.weight_EFD):
            white_MD = (read_MF - self.shift_EF[expert]) @ weight_FD
            vector_MD = vector_MD + gate_ME[:, expert, None] * white_MD
        return vector_MD

    @torch.no_grad()
    def fit(self, feature_NF: Tensor) -> None:
        """Let every expert begin as a whitening of these items: mean zero, covariance one.

        A whitening remains one under rotation, and each expert has its own, made of the weights
        that it has. Where features vary in fewer than D directions, vectors do too. Where they do
        not vary, nothing is changed.

        Args:
            feature_NF: features of the items.
        """
        mean_F, white_FK = whitening(feature_NF, self.weight_EFD.shape[-1])
        directions = white_FK.shape[1]
        if directions == 0:
            return
        for shift_F, weight_FD in zip(self.shift_EF, self.weight_EFD, strict=True):
            rotation_DK = torch.linalg.qr(weight_FD[:directions].double().cpu().T).Q
            shift_F.copy_(mean_F)
            weight_FD.copy_(white_FK @ rotation_DK.T)


def whitening(feature_NF: Tensor, most: int) -> tuple[Tensor, Tensor]:
    """Mean (F) and matrix (F, K), in double precision, on the CPU, of a whitening by principal
    components: (x - mean) matrix has the identity as its covariance.

    Args:
        feature_NF: what is whitened; at least one row.
        most: largest K; the directions of the largest variances are kept.
    """
    feature_NF = feature_NF.double().cpu()
    mean_F = feature_NF.mean(0)
    centred_NF = feature_NF - mean_F
    variance_F, axis_FF = torch.linalg.eigh(centred_NF.T @ centred_NF / feature_NF.shape[0])
    # Of equal rows only rounding is left: its size is that of the mean.
    least = max(float(variance_F[-1]) * SMALLEST_VARIANCE, float(mean_F.square().max()) * 1e-20)
    kept = min(int((variance_F > least).sum()), most, feature_NF.shape[1])
    at_K = torch.arange(variance_F.numel() - 1, variance_F.numel() - 1 - kept, -1)
    return mean_F, axis_FF[:, at_K] * variance_F[at_K].rsqrt()


def linear_adaptor(features: int, width: int) -> nn.Linear:
    """Build one linear layer, with a bias; weights as those of a projection begin."""
    layer = nn.Linear(features, width)
    nn.init.normal_(layer.weight, std=0.02)
    nn.init.zeros_(layer.bias)
    return layer
