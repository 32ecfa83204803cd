"""Label miners: feature memory → positives. One paper, one file; `MINERS` names them."""

from collections.abc import Callable

from resight.miners.gsmlp import GSMLP
from resight.miners.self_only import SelfOnly
from resight.types import Miner

MINERS: dict[str, Callable[..., Miner]] = {
    "self_only": SelfOnly,
    "gsmlp": GSMLP,
}
