"""The texts of the steps: what happens, what to look at, what can go wrong."""

from dataclasses import dataclass


@dataclass(frozen=True)
class StepText:
    """The texts of one step."""

    name: str  # in the strip, one word or two
    title: str
    what: str
    observe: str  # what to look at
    caution: str  # what can go wrong
    page: str  # where it is done with many photos
    link: str  # label of the link there
    stage: str = ""  # of the method, for a link to the Training page


STEPS = (
    StepText(
        "Photo",
        "The input: one photo",
        "The method gets only the photo: no class names, and no outlines drawn by people.",
        "Which object would you outline? The method must find it without help.",
        "A photo without a clear object, such as a starry sky, is hard for this method.",
        "start",
        "Choose many photos",
    ),
    StepText(
        "Patches",
        "Patches and attention",
        "A vision transformer, trained before and not changed here, reads the photo as small squares: **patches**. "
        "Each of its **heads** gives every patch a weight: its **attention**.",
        "Choose one head after the other. Which one attends to the object, which one to the background?",
        "Attention has gaps and reaches beyond the object: it shows where the object is, not its outline.",
        "proposals",
        "All heads side by side",
    ),
    StepText(
        "Affinity",
        "Which patches are similar",
        "The network describes each patch by a vector. Two patches whose vectors point in the same direction have an "
        "**affinity** near 1.",
        "Click a patch on the object, then one on the background. Which patches are similar to it?",
        "Two cats are similar to each other: affinity does not tell how many objects there are.",
        "proposals",
        "Affinity on any photo",
    ),
    StepText(
        "Cut",
        "The normalised cut",
        "Patches whose affinity is above a threshold **τ** are linked, which gives a graph. The **normalised cut** "
        "splits it where the links are weakest. The part that touches the photo's border less is the mask.",
        "Move τ. A mask that hardly changes is more reliable than one that changes much.",
        "A mask may hold a shadow, or two objects. A run learns from all photos what is **foreground**, and finds "
        "single objects in a **pool** of cuts.",
        "proposals",
        "All settings of the cut",
    ),
    StepText(
        "Clusters",
        "Clusters of masks from many photos",
        "Each mask is cropped and described by a vector as well. Masks with similar vectors form a **cluster**: "
        "a class that has no name yet.",
        "Do the most similar masks show the same kind of object? Look at other clusters too.",
        "The number of clusters is an estimate: with too few, cats and astronauts share a cluster.",
        "clusters",
        "All masks on a map",
    ),
    StepText(
        "First model",
        "The first model learns from all masks",
        "A small network learns to predict the cluster of each patch, from the masks of all photos. Mistakes in single "
        "masks have little effect; what many masks share is learnt.",
        "Move the **epoch**, one pass over all photos. The fainter the colour, the lower the model's probability.",
        "A mistake in many masks, such as water below every boat, is learnt as well. And it knows classes, not where "
        "one object ends: the stage **Instances** learns that.",
        "training",
        "Training curves",
        "stage1",
    ),
    StepText(
        "Filter",
        "Filter masks by the first model's score",
        "The score of a mask is the mean probability that the first model gives to its cluster inside it. Masks below "
        "the threshold are not used to train the next model.",
        "Raise the threshold. Which masks are dropped first? A photo's best mask can be kept in any case.",
        "Correct masks of rare objects may be dropped, and mistakes with a high score are kept.",
        "filter",
        "Filter all masks",
    ),
    StepText(
        "Final model",
        "The final model learns from the kept masks",
        "The final model is trained from the start, on the kept masks only. It labels every pixel of any photo, also "
        "of a new one.",
        "Move the border: left the first model, right the final one. Compare outlines and small isolated regions.",
        "The gain is often small. A colour stands for a cluster; people have to give it a name.",
        "results",
        "Compare on all photos",
        "stage2",
    ),
)
WITHOUT_RUN = (
    "One photo is not enough from here on: clusters and models need many. The **class run** applies the whole "
    "method to the sample photos, each in several views. Steps 1 to 4 can be used meanwhile."
)
EARLY = (
    "Steps 5 to 8 need a **class run**: the sample photos, each in several views. Steps 1 to 4 can be used meanwhile."
)
WITHOUT_RUN_ON_PAGE = (
    "One photo is not enough from here on: clusters and models need many. A trained run shows them: make this page "
    "with **--run**, or on the Guide page of the app."
)
NO_MASK = "Step 4 found no mask in this photo, which this step needs."
PUBLISHED_CUT = (
    "The link asks for the paper's own rule: the patches with the most attention are candidates. The one with the most "
    "attention is the seed, and the mask grows from it over patches whose keys are similar."
)
