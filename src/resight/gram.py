"""Adjacency distances without the N×N matrix: the Gram matrix of a feature memory, kept up to date row by row.

Paper: the distances are GSMLP's (Yu & Oh 2021), d_ij = ‖S_i − S_j‖₂ between rows of S, the similarities with their
diagonal set to 0. With G = MᵀM and any fixed vector c, x_j = m_j − c, and e_j = x_jᵀ G x_j = Σ_k (m_k · x_j)²,

    ‖S_i − S_j‖² = e_i + e_j − 2 x_iᵀ G x_j − s_ii² − s_jj² + 2 s_ij (s_ii + s_jj)      (i ≠ j)

which is the difference of rows of the full matrix, (x_i − x_j)ᵀ G (x_i − x_j), less what its diagonal adds. The value
does not depend on c, its rounding does: features of one network are alike, and without the mean row taken out (c = 0)
the distance of two of them is the small difference of two large numbers.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from resight.storage import Rows, product


@dataclass
class Gram:
    """What adjacency distances need of all rows.

    `matrix`: G (D, D). `centre`: c, about the mean row when G was built. `energy`: e_j. `own`: s_jj, which is 1, or 0
    for a row not yet written.
    """

    matrix: Float[Tensor, "d d"]
    centre: Float[Tensor, " d"]
    energy: Float[Tensor, " n"]
    own: Float[Tensor, " n"]

    @classmethod
    def of(cls, rows: Rows) -> "Gram":
        """Build it in two passes over the rows: N · D² multiplications each."""
        dtype, device = rows.data.dtype, rows.device
        matrix = torch.zeros(rows.dim, rows.dim, dtype=dtype, device=device)
        centre = torch.zeros(rows.dim, dtype=dtype, device=device)
        for _, block in rows.blocks():
            matrix += block.T @ block
            centre += block.sum(dim=0) / max(1, len(rows))
        # Rounded to few digits: enough is taken out, and products that were exact with whole rows stay exact.
        centre = (centre * 2**7).round() / 2**7
        energy, own = (torch.empty(len(rows), dtype=dtype, device=device) for _ in range(2))
        for first, block in rows.blocks():
            for start in range(0, len(block), ROWS_AT_A_TIME):
                part = block[start : start + ROWS_AT_A_TIME]
                at = slice(first + start, first + start + len(part))
                energy[at] = quadratic(part - centre, matrix)
                own[at] = part.square().sum(dim=1)
        return cls(matrix, centre, energy, own)

    def distance(self, index: Int[Tensor, " b"], rows: Rows) -> Float[Tensor, "b n"]:
        """d_ij² of the rows at `index` to all: one product. Never negative; 0 in the own column; smaller is closer.

        The factor of s_ij is 2 (s_ii + 1): where s_jj is not 1 the row is zero, and so is s_ij.
        """
        own, mine = self.own[index].unsqueeze(1), rows.read(index)
        turned = (mine - self.centre) @ self.matrix
        distance = product(2 * (1 + own) * mine - 2 * turned, rows, bias=self.energy - self.own.square())
        mine_alone = self.energy[index] - own.squeeze(1).square() + 2 * (turned @ self.centre)
        distance.add_(mine_alone.unsqueeze(1)).clamp_min_(0)
        return distance.scatter_(1, index.unsqueeze(1), 0.0)

    def replace(
        self,
        index: Int[Tensor, " b"],
        old: tuple[Float[Tensor, "b d"], Float[Tensor, "b n"]],
        new: tuple[Float[Tensor, "b d"], Float[Tensor, "b n"]],
    ) -> None:
        """Follow a change of the rows at `index`; `old` and `new` are those rows and their similarities to all others.

        Rank b: for a row j that does not change, e_j changes by Σ_b [(new_b · x_j)² − (old_b · x_j)²], and new_b · x_j
        is the similarity less new_b · c. The similarities are used up.
        """
        for (rows, scores), sign in ((old, -1.0), (new, 1.0)):
            self.matrix.addmm_(rows.T, rows, alpha=sign)
            away = scores.sub_((rows @ self.centre).unsqueeze(1))
            self.energy += sign * torch.linalg.vector_norm(away, dim=0).square()
        self.energy[index] = quadratic(new[0] - self.centre, self.matrix)
        self.own[index] = new[0].square().sum(dim=1)


ROWS_AT_A_TIME = 16384


def quadratic(rows: Float[Tensor, "b d"], matrix: Float[Tensor, "d d"]) -> Float[Tensor, " b"]:
    """xᵀ G x of each row."""
    return ((rows @ matrix) * rows).sum(dim=1)
