"""How far two people agree on masks that both judged."""

from dataclasses import dataclass

import numpy as np

from maskdistill.errors import ShapeError

NO_LABEL, ACCEPTED, REJECTED = 0, -1, -2  # a number above 0 is the cluster that a mask was moved to
ACTIONS = ("accept", "reject", "relabel")
_GRADES = ((0.0, "no better than chance"), (0.2, "slight"), (0.4, "fair"), (0.6, "moderate"), (0.8, "substantial"))


@dataclass(frozen=True, eq=False)
class Agreement:
    """The labels of two people compared."""

    num_both: int  # masks that both judged
    num_same: int  # of these, those with the same label
    kappa: float  # Cohen's, at most 1; NaN if nothing was judged by both, or both gave every mask the same label
    confusion: np.ndarray  # (3, 3) int, rows the first person's ``ACTIONS``, columns the second's
    rows: np.ndarray  # where they differ

    @property
    def share(self) -> float:
        """Share of the masks judged by both that got the same label from them; NaN if there are none."""
        return self.num_same / self.num_both if self.num_both else float("nan")

    @property
    def meaning(self) -> str:
        """What the kappa means."""
        if not self.num_both:
            return "no mask was judged by both yet"
        if np.isnan(self.kappa):
            return "undefined: both gave every mask the same label, so chance agreement is complete"
        grade = next((name for limit, name in _GRADES if self.kappa <= limit), "almost perfect")
        return grade if self.kappa <= 0 else f"{grade} agreement beyond chance"


def encode_labels(decision: np.ndarray, cluster: np.ndarray) -> np.ndarray:
    """The labels that a person gave N masks, as one number each.

    Args:
        decision: (N,) 1 accepted, -1 rejected, 0 neither.
        cluster: (N,) cluster that the mask was moved to, 0 for none.

    Returns:
        (N,) int16: ``NO_LABEL``, ``ACCEPTED``, ``REJECTED``, or the cluster of a mask that was moved.
    """
    labels = np.select([decision < 0, cluster > 0, decision > 0], [REJECTED, cluster, ACCEPTED], NO_LABEL)
    return labels.astype(np.int16)


def compare(first: np.ndarray, second: np.ndarray) -> Agreement:
    """Compare the labels that two people gave the same N masks.

    Labels are the same where both accept, both reject, or both move the mask to the same cluster. Chance agreement is
    that of two people who give each label as often as these do, at random.

    Args:
        first: (N,) labels of one, as ``encode_labels`` gives them.
        second: (N,) labels of the other.

    Raises:
        ShapeError: If they differ in length.

    Source: Cohen, A coefficient of agreement for nominal scales, 1960; grades by Landis and Koch, 1977.
    """
    if first.shape != second.shape:
        raise ShapeError("second", f"{first.shape}", second.shape)
    both = np.flatnonzero((first != NO_LABEL) & (second != NO_LABEL))
    one, other = first[both], second[both]
    same = one == other
    confusion = np.zeros((len(ACTIONS), len(ACTIONS)), np.int64)
    np.add.at(confusion, (_action(one), _action(other)), 1)
    return Agreement(len(both), int(same.sum()), _kappa(one, other), confusion, both[~same])


def differing(everyone: np.ndarray) -> np.ndarray:
    """(N,) bool: masks to which at least two of P people gave different labels, by the (P, N) labels."""
    labelled = everyone != NO_LABEL
    least, most = np.iinfo(everyone.dtype).min, np.iinfo(everyone.dtype).max
    highest = np.where(labelled, everyone, least).max(axis=0, initial=least)
    lowest = np.where(labelled, everyone, most).min(axis=0, initial=most)
    return labelled.any(axis=0) & (highest != lowest)


def _kappa(one: np.ndarray, other: np.ndarray) -> float:
    if not len(one):
        return float("nan")
    kinds = np.unique(np.concatenate([one, other]))
    shares = [
        np.bincount(np.searchsorted(kinds, labels), minlength=len(kinds)) / len(labels) for labels in (one, other)
    ]
    chance = float(shares[0] @ shares[1])
    return (float(np.mean(one == other)) - chance) / (1 - chance) if chance < 1 else float("nan")


def _action(labels: np.ndarray) -> np.ndarray:
    return np.where(labels == ACCEPTED, 0, np.where(labels == REJECTED, 1, 2))
