"""What the guide says at each step: what happens, what to look for, what can go wrong. No Streamlit in here."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Words:
    """One step in words."""

    name: str  # in the strip, one word or two
    title: str
    what: str
    look: str
    wrong: str
    page: str  # where it is done with many photos
    link: str  # what that link says
    stage: str = ""  # of the method, for a link to the Training page


STEPS = (
    Words(
        "Photo",
        "One photo, and nothing else",
        "The computer gets the photo alone: no names, no outlines drawn by people.",
        "What would you cut out? Nobody will tell the computer.",
        "A photo without one clear thing in it, such as a starry sky, is hard for this method.",
        "start",
        "Take many photos",
    ),
    Words(
        "Patches",
        "Small squares, and where the network looks",
        "A vision transformer, a network that was trained before, reads the photo as small squares: **patches**. "
        "Each of its **heads** weighs how much every patch matters for the whole: its **attention**.",
        "Go through the heads. Which one looks at the object, which one elsewhere?",
        "Attention has holes and spills over: a hint, but no outline yet.",
        "proposals",
        "All heads side by side",
    ),
    Words(
        "Affinity",
        "Which patches are alike",
        "The network describes each patch by a list of numbers. Where two lists point the same way, their "
        "**affinity** is near 1.",
        "Click a patch on the object, then one behind it. What lights up with it?",
        "Two cats light up together: affinity tells what is alike, not how many there are.",
        "proposals",
        "Affinity on any photo",
    ),
    Words(
        "Cut",
        "Cut where the links are weakest",
        "Patches whose affinity is above a threshold **τ** are linked. The **normalised cut** splits this net in two "
        "where it loses least; the side that touches the photo's border less is taken for the object.",
        "Move τ. A mask that holds still can be trusted more than one that jumps.",
        "The cut may take a shadow, or the wrong side. Each mask gets a score, and doubtful ones a low one.",
        "proposals",
        "All settings of the cut",
    ),
    Words(
        "Clusters",
        "Sort the masks of many photos",
        "Each mask is cut out and described by numbers as well. Masks with like numbers form a **cluster**: "
        "a kind of thing, still without a name.",
        "Are the crops most like this one the same kind of thing? Look into other clusters too.",
        "How many clusters there are is a guess: with too few a cat shares one with an astronaut.",
        "clusters",
        "All masks on a map",
    ),
    Words(
        "First model",
        "A first model learns from all masks",
        "A small network learns which patch belongs to which cluster, from all photos at once. Single mistakes "
        "contradict each other; what repeats is learnt.",
        "Move the **epoch**, one pass over all photos. The fainter the colour, the less sure the model.",
        "A mistake that repeats, like the water under every boat, is learnt as well.",
        "training",
        "Train it, with curves",
        "stage1",
    ),
    Words(
        "Filter",
        "Drop what the first model does not believe",
        "The first model scores each mask: how probable its cluster is inside it. Masks below the threshold are "
        "dropped before the next model learns.",
        "Raise the threshold. What falls away first? A photo's best mask comes back, so that none is left empty.",
        "Rare things that are right may be dropped, and mistakes that the model is sure of stay.",
        "filter",
        "Filter all masks",
    ),
    Words(
        "Final model",
        "A final model learns from what is left",
        "The final model starts afresh and learns from the cleaned masks only. It can draw any photo, also one that "
        "nobody cut a mask for.",
        "Move the line: left the first model, right the final one. Compare edges and stray spots.",
        "The gain is often small, and a colour is a cluster, not a name: people have to give it one.",
        "results",
        "Compare on all photos",
        "stage2",
    ),
)
WITHOUT_RUN = (
    "One photo is not enough from here on: clusters and models need many. The **class run** takes the sample photos, "
    "each in several views, through the whole method. Steps 1 to 4 can be used meanwhile."
)
EARLY = (
    "Steps 5 to 8 need a **class run**: the sample photos, each in several views. Steps 1 to 4 can be used meanwhile."
)
PUBLISHED_CUT = (
    "The link asks for the paper's own rule: patches with the most attention are candidates, and those whose keys "
    "point the way of the strongest one, the seed, spread from there over the photo."
)
