"""Label miners: feature memory → positives. One paper, one file; `MINERS` names them."""

from collections.abc import Callable

from resight.miners.cluster import Cluster
from resight.miners.dplm import DPLM
from resight.miners.gsmlp import GSMLP
from resight.miners.knn import KNN
from resight.miners.mplp import MPLP
from resight.miners.self_only import SelfOnly
from resight.miners.similarity import Similarity
from resight.types import Miner

MINERS: dict[str, Callable[..., Miner]] = {
    "self_only": SelfOnly,
    "knn": KNN,
    "similarity": Similarity,
    "mplp": MPLP,
    "gsmlp": GSMLP,
    "dplm": DPLM,
    "cluster": Cluster,
}
