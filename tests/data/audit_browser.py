"""A stand-in for a tab of the Audit page: its messages, and what it was sent."""

import itertools

from maskdistill.review import decisions

TABS = itertools.count()


class Browser:
    """One tab: numbers its messages and actions, and remembers what it was sent."""

    def __init__(self, review, client=None):
        self.review, self.client, self.number, self.seq = review, client or f"tab {next(TABS)}", 0, 0
        self.cached = set()
        self.take(review.answer())

    def take(self, answer):
        self.answer = answer
        self.cached |= {card["key"] for card in answer["cards"]} | {f"t{id}" for id in answer["thumbnails"]}
        return answer

    def send(self, *actions, at="keep", **more):
        self.number += 1
        place = self.answer["at"] if at == "keep" else at
        message = {
            "client": self.client,
            "number": self.number,
            "actions": actions,
            "at": place,
            "cached": list(self.cached),
        }
        self.review.apply_message(message | more)
        return self.take(self.review.answer())

    def action(self, kind, mask=None, cluster=None):
        self.seq += 1
        return {"seq": self.seq, "kind": kind, "mask": mask, "cluster": cluster}

    def press(self, kind, cluster=None):
        """A key on the mask on show; the next one is shown at once, as the annotator does it."""
        here = self.answer["at"]
        coming = self.answer["upcoming"][0] if self.answer["upcoming"] else None
        return self.send(self.action(kind, here, cluster), at=coming)


def marks(run):
    table = decisions.read_marks(run)
    return list(zip(table["mask_id"].tolist(), table["action"].tolist(), strict=True))
