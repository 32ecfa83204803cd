"""MMCL: classify an image as all of its mined positives at once, against its hardest negatives.

Paper: Wang & Zhang, CVPR 2020, "Unsupervised Person Re-identification via Multi-label Classification", eq. 7.
"""

from dataclasses import dataclass

from resight.losses.smlc import SMLC


@dataclass(frozen=True, slots=True)
class MMCL(SMLC):
    """mean_i [ delta · mean_{j∈P(i)} (z_ij − 1)² + mean_{j∈H(i)} (z_ij + 1)² ]: SMLC's expression, which came later.

    The two methods differ in the labels that reach it: MMCL takes those of MPLP.
    """
