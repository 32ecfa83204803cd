"""Exact neighbours in the similarity graph of a feature memory, without its N×N matrix."""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor


def gram_energy(rows: Float[Tensor, "b d"], gram: Float[Tensor, "d d"]) -> Float[Tensor, " b"]:
    """q_j = m_jᵀ G m_j = Σ_k s_jk², the squared length of row j of the full similarity matrix."""
    return ((rows @ gram) * rows).sum(dim=1)


def adjacency_distance(
    features: Float[Tensor, "n d"],
    index: Int[Tensor, " b"],
    similarity: Float[Tensor, "b n"],
    gram: Float[Tensor, "d d"],
    energy: Float[Tensor, " n"],
) -> Float[Tensor, "b n"]:
    """Squared distance between rows of S, the similarity matrix with zero diagonal: d_ij² = ‖S_i − S_j‖².

    Two (b, d)·(d, n) products in place of N×N:  S_i·S_j = m_iᵀ G m_j − s_ij (s_ii + s_jj)  and  ‖S_i‖² = q_i − s_ii².
    Never negative; 0 in the own column.

    Args:
        features: the memory's rows.
        index: the rows i.
        similarity: s_ij = m_i · m_j for those rows, own column included.
        gram: G = MᵀM.
        energy: q_j = m_jᵀ G m_j for all rows.
    """
    own = features.square().sum(dim=1)  # s_jj: 1, or 0 for a row not yet written
    length = energy - own.square()  # ‖S_j‖²
    products = (features[index] @ gram) @ features.T
    products -= similarity * (own[index].unsqueeze(1) + own)
    distance = products.mul_(-2).add_(length).add_(length[index].unsqueeze(1)).clamp_min_(0)
    return distance.scatter_(1, index.unsqueeze(1), 0.0)


def closest(distance: Float[Tensor, "b n"], count: Int[Tensor, " b"]) -> Bool[Tensor, "b n"]:
    """Mark in row i the `count[i]` smallest distances; of equal ones those that come first."""
    n = distance.shape[1]
    most = int(count.clamp(max=n).max())
    smallest = distance.topk(most, dim=1, largest=False).values
    edge = smallest.gather(1, (count.clamp(max=n) - 1).unsqueeze(1))
    marked = distance < edge
    ties = distance == edge
    room = count.unsqueeze(1) - marked.sum(dim=1, keepdim=True)
    if bool((ties.sum(dim=1, keepdim=True) > room).any()):  # only then does their order matter
        ties &= ties.cumsum(dim=1) <= room
    return marked | ties


def most_similar(
    similarity: Float[Tensor, "b n"], index: Int[Tensor, " b"], tau: float, least: int, most: int = 0
) -> tuple[Bool[Tensor, "b n"], Int[Tensor, " b"], Int[Tensor, " b"]]:
    """Mark Top(i, K_i), the K_i most similar images, i itself always among them.

    k_i = |{j : s_ij ≥ tau}| and K_i = max(k_i, least), no more than `most` where that is not 0. Where k_i itself is
    K_i these are simply the scores ≥ tau, so only the other rows need a selection. Equal scores keep the order of the
    images.

    Returns:
        The marks, k_i, and K_i cut to N.
    """
    n = similarity.shape[1]
    over = similarity >= tau
    k = over.sum(dim=1)
    width = k.clamp(min=least).clamp(max=min(most or n, n))
    select = (k != width).nonzero().squeeze(1)
    if len(select):
        own_first = (-similarity[select]).scatter_(1, index[select].unsqueeze(1), -torch.inf)
        over[select] = closest(own_first, width[select])
    return over, k, width
