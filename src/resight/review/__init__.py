"""Review: pairs that a person is asked about, in the order in which answers tell most, and a store that keeps them."""

from resight.review.questions import DOUBTS, MEASURE, Question, Queue
from resight.review.store import Decision, ReviewStore

__all__ = ["DOUBTS", "MEASURE", "Decision", "Question", "Queue", "ReviewStore"]
