"""What a model makes of a test: embeddings of query and gallery, and the result by the test's rules."""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from resight.evaluate import Options, evaluate
from resight.protocols import GENERAL, EvaluationProtocol
from resight.retrieval_result import RetrievalResult
from resight.types import Split


@dataclass(frozen=True)
class Tested:
    """A scored test. The embeddings are of the images of `query` and `gallery`, in their order."""

    query_embeddings: Float[Tensor, "q d"]
    gallery_embeddings: Float[Tensor, "g d"]
    query: Split
    gallery: Split
    protocol: EvaluationProtocol
    result: RetrievalResult

    @classmethod
    def of(
        cls,
        embeddings: tuple[Float[Tensor, "q d"], Float[Tensor, "g d"]],
        query: Split,
        gallery: Split,
        *,
        protocol: EvaluationProtocol = GENERAL,
        camera_pairs: bool = False,
    ) -> "Tested":
        """Score the embeddings of `query` and of `gallery`.

        Raises:
            DataError: as `evaluate`.
        """
        options = Options(camera_pairs=camera_pairs)
        return cls(
            *embeddings,
            query,
            gallery,
            protocol,
            evaluate(*embeddings, query, gallery, protocol=protocol, options=options),
        )
