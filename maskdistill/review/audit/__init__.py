"""The audit: which masks come first and why, how far two people agree, how long the rest takes.

Nothing here reads or writes a file, and nothing uses ground truth.
"""

from maskdistill.review.audit.agreement import Agreement, compare, encode_labels
from maskdistill.review.audit.doubt import WEIGHTS, Doubts, measure_doubt
from maskdistill.review.audit.like_mended import measure_likeness
from maskdistill.review.audit.pace import Pace, measure_pace
from maskdistill.review.audit.queue import ORDER_HELP, ORDER_NAMES, Order, arrange, next_open
from maskdistill.review.audit.reasons import Reasons, disagreement
from maskdistill.review.audit.suggestions import ClusterCentres, suggest_clusters
from maskdistill.review.audit.tally import ClusterTally, Tally, count_labels, most_rejected

__all__ = [
    "ORDER_HELP",
    "ORDER_NAMES",
    "WEIGHTS",
    "Agreement",
    "ClusterCentres",
    "ClusterTally",
    "Doubts",
    "Order",
    "Pace",
    "Reasons",
    "Tally",
    "arrange",
    "compare",
    "count_labels",
    "disagreement",
    "encode_labels",
    "measure_doubt",
    "measure_likeness",
    "measure_pace",
    "most_rejected",
    "next_open",
    "suggest_clusters",
]
