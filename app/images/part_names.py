"""What the parts of a mask's own score are called on the pages."""

PART_NAMES = {
    "view_agreement": "Views",
    "contrast": "Contrast",
    "eigengap": "Eigengap",
    "crf_agreement": "CRF",
    "area": "Area",
    "border": "Border",
}


def part_name(name: str) -> str:
    """A part of ``maskdistill.proposals.scoring`` in a word or two."""
    return PART_NAMES.get(name, name.replace("_", " ").capitalize())
