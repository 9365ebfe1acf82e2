"""How far two people agree on masks that both judged."""

from dataclasses import dataclass

import numpy as np

from maskdistill.errors import ShapeError

NO_WORD, ACCEPTED, REJECTED = 0, -1, -2  # a number above 0 is the cluster that a mask was moved to
ACTIONS = ("accept", "reject", "relabel")
_GRADES = ((0.0, "no better than chance"), (0.2, "slight"), (0.4, "fair"), (0.6, "moderate"), (0.8, "substantial"))


@dataclass(frozen=True, eq=False)
class Agreement:
    """Two people's words compared."""

    num_both: int  # masks that both judged
    num_same: int  # of these, those of which they said the same
    kappa: float  # Cohen's, at most 1; NaN if nothing was judged by both, or both always said the same one thing
    confusion: np.ndarray  # (3, 3) int, rows the first person's ``ACTIONS``, columns the second's
    rows: np.ndarray  # where they differ

    @property
    def share(self) -> float:
        """Share of the masks judged by both of which they said the same; NaN if there are none."""
        return self.num_same / self.num_both if self.num_both else float("nan")

    @property
    def meaning(self) -> str:
        """The kappa in words."""
        if not self.num_both:
            return "no mask was judged by both yet"
        if np.isnan(self.kappa):
            return "both always said the same one thing, so chance cannot be told from agreement"
        grade = next((word for limit, word in _GRADES if self.kappa <= limit), "almost perfect")
        if grade == "no better than chance":
            return "no better than two people who never looked"
        return f"{grade} agreement beyond chance"


def words(decision: np.ndarray, cluster: np.ndarray) -> np.ndarray:
    """What a person said of N masks, as one number each.

    Args:
        decision: (N,) 1 accepted, -1 rejected, 0 neither.
        cluster: (N,) cluster that the mask was moved to, 0 for none.

    Returns:
        (N,) int64: ``NO_WORD``, ``ACCEPTED``, ``REJECTED``, or the cluster of a mask that was moved.
    """
    said = np.select([decision < 0, cluster > 0, decision > 0], [REJECTED, cluster, ACCEPTED], NO_WORD)
    return said.astype(np.int64)


def compare(first: np.ndarray, second: np.ndarray) -> Agreement:
    """Compare what two people said of the same N masks.

    The same is said by two who accept, two who reject, and two who move a mask to the same cluster. Chance is what
    people would agree on who say each thing as often as these do, without looking.

    Args:
        first: (N,) ``words`` of one.
        second: (N,) ``words`` of the other.

    Raises:
        ShapeError: If they differ in length.

    Source: Cohen, A coefficient of agreement for nominal scales, 1960; grades by Landis and Koch, 1977.
    """
    if first.shape != second.shape:
        raise ShapeError("second", f"{first.shape}", second.shape)
    both = np.flatnonzero((first != NO_WORD) & (second != NO_WORD))
    one, other = first[both], second[both]
    same = one == other
    confusion = np.zeros((len(ACTIONS), len(ACTIONS)), np.int64)
    np.add.at(confusion, (_action(one), _action(other)), 1)
    return Agreement(len(both), int(same.sum()), _kappa(one, other), confusion, both[~same])


def differing(everyone: np.ndarray) -> np.ndarray:
    """(N,) bool: masks of which the words of at least two of P people differ, by the (P, N) ``words``."""
    spoken = everyone != NO_WORD
    highest = np.where(spoken, everyone, np.iinfo(np.int64).min).max(axis=0, initial=np.iinfo(np.int64).min)
    lowest = np.where(spoken, everyone, np.iinfo(np.int64).max).min(axis=0, initial=np.iinfo(np.int64).max)
    return spoken.any(axis=0) & (highest != lowest)


def _kappa(one: np.ndarray, other: np.ndarray) -> float:
    if not len(one):
        return float("nan")
    kinds = np.unique(np.concatenate([one, other]))
    shares = [np.bincount(np.searchsorted(kinds, said), minlength=len(kinds)) / len(said) for said in (one, other)]
    chance = float(shares[0] @ shares[1])
    return (float(np.mean(one == other)) - chance) / (1 - chance) if chance < 1 else float("nan")


def _action(said: np.ndarray) -> np.ndarray:
    return np.where(said == ACCEPTED, 0, np.where(said == REJECTED, 1, 2))
