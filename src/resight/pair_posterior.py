"""From a few answers in each stratum of scores to how many pairs of it are the same: a posterior that falls with score.

Strata are numbered from the highest score down. p_h, the chance that a pair of stratum h is the same, is modelled by
its logit, a chain from stratum to stratum,

    logit p_{h+1} = logit p_h − step,     step ~ Exp(mean m), or at times Exp(mean FLAT), or at times −Exp(mean BACK)

that mostly falls, as scores that mean anything do, and by how much is learned (m has a prior on `MEAN_STEPS`). It may
go level after a steep fall, as where some images are spoilt and their scores say nothing. Answers in h are binomial
draws of p_h. So a stratum whose few answers are all "no" is not taken to be empty: it is about as far below the stratum
above it as strata there are from one another. The logits live on a grid; forward filtering and backward sampling
(Rabiner 1989, A tutorial on hidden Markov models; Scott 2002, Bayesian methods for hidden Markov models) then draw from
the posterior exactly.
"""

import functools

import numpy as np
from jaxtyping import Float, Int

LOGITS = np.linspace(-24.0, 12.0, 145)
"""Grid of logits, a quarter apart: chances from 4e-11 to 0.999994."""

MEAN_STEPS = (0.2, 0.4, 0.8, 1.6, 3.2)
"""Mean fall of the logit from a stratum to the next that are thought possible, equally likely beforehand."""

LEVEL, FLAT = 0.25, 0.1
"""How often the chance hardly falls, and by how much on average it then does."""

LEAK, BACK = 0.075, 0.3
"""How often, and by how much on average, the chance may rise where the score falls."""


def chances(
    asked: Int[np.ndarray, " h"], yes: Int[np.ndarray, " h"], draws: int, rng: np.random.Generator
) -> Float[np.ndarray, "s h"]:
    """Draw p of all strata, highest scores first, from the posterior; without any answers, from the prior."""
    likelihood = _log_likelihood(asked, yes)
    kernels = [_kernel(mean) for mean in MEAN_STEPS]
    filtered = [_filter(likelihood, kernel) for kernel in kernels]
    evidence = np.array([log for _, log in filtered])
    share = np.exp(evidence - evidence.max())
    counts = rng.multinomial(draws, share / share.sum())
    parts = [
        _sample(forward, kernel, int(count), rng)
        for (forward, _), kernel, count in zip(filtered, kernels, counts, strict=True)
        if count
    ]
    logits = LOGITS[np.concatenate(parts)]
    logits += rng.uniform(-0.5, 0.5, logits.shape) * (LOGITS[1] - LOGITS[0])  # anywhere in the cell of the grid
    return 1 / (1 + np.exp(-logits))


def _log_likelihood(asked: Int[np.ndarray, " h"], yes: Int[np.ndarray, " h"]) -> Float[np.ndarray, "h g"]:
    log_p, log_not = -np.logaddexp(0, -LOGITS), -np.logaddexp(0, LOGITS)
    return yes[:, None] * log_p + (asked - yes)[:, None] * log_not


@functools.cache
def _kernel(mean: float) -> Float[np.ndarray, "g g"]:
    """Chance of each logit (column) below a stratum with that logit (row)."""
    fall = LOGITS[:, None] - LOGITS[None, :]
    parts = ((1 - LEVEL - LEAK, mean, fall), (LEVEL, FLAT, fall), (LEAK, BACK, -fall))
    kernel = np.zeros_like(fall)
    for share, size, step in parts:
        chance = np.where(step >= 0, np.exp(-np.maximum(step, 0) / size), 0)
        kernel += share * chance / chance.sum(axis=1, keepdims=True)
    return kernel


def _filter(likelihood: Float[np.ndarray, "h g"], kernel: Float[np.ndarray, "g g"]) -> tuple[np.ndarray, float]:
    """Chance of each stratum's logit given the answers down to it, and the log chance of all answers."""
    top = np.exp(-0.5 * np.logaddexp(0, -LOGITS) - 0.5 * np.logaddexp(0, LOGITS))  # Jeffreys: Beta(1/2, 1/2)
    ahead, evidence, forward = top / top.sum(), 0.0, []
    for row in likelihood:
        weight = ahead * np.exp(row - row.max())
        evidence += float(row.max() + np.log(weight.sum()))
        forward.append(weight / weight.sum())
        ahead = forward[-1] @ kernel
    return np.array(forward), evidence


def _sample(forward: np.ndarray, kernel: np.ndarray, draws: int, rng: np.random.Generator) -> Int[np.ndarray, "s h"]:
    """Draw chains of grid places, from the lowest stratum up."""
    strata = len(forward)
    places = np.empty((draws, strata), dtype=np.int64)
    places[:, -1] = rng.choice(len(LOGITS), draws, p=forward[-1])
    for h in range(strata - 2, -1, -1):
        below, back = np.unique(places[:, h + 1], return_inverse=True)
        cumulative = (forward[h][:, None] * kernel[:, below]).cumsum(axis=0)
        wanted = rng.random(draws) * cumulative[-1, back]
        places[:, h] = (cumulative[:, back] < wanted).sum(axis=0)
    return places
