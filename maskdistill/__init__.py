"""MaskDistill: unsupervised semantic segmentation from the object masks of a self-supervised vision transformer.

What a notebook needs stands here; it is imported when it is first used. Masks of one photo:

    import maskdistill as md

    config = md.load_preset("quick").with_overrides(["features.backbone=focus_vits14"])
    photo = md.open_source("sample").photos[0]
    found = md.propose(photo, md.load_backbone(config.features), config)
    found.proposals[0].mask  # (height, width) bool, the mask with the best score
    md.show(photo, [item.mask for item in found.proposals])  # the photo with its masks; a notebook shows it

Every stage over a folder of photos, and what it made:

    run = md.Run("runs/sample")
    md.run_stages(run, "sample", config, wanted=("clusters",), options=md.Options(limit=20))
    run.masks(), run.clusters()  # pandas tables, a row a mask
    md.stage_states(run)  # which stages are done, stale or missing
"""

from importlib import import_module
from typing import Any

__version__ = "0.2.0"

_MODULES = {
    "open_source": "datasets",
    "read_photo": "datasets",
    "show": "pictures.show",
    "RunConfig": "config",
    "load_preset": "config",
    "load_backbone": "features.backbone",
    "propose": "proposals.propose",
    "Run": "storage.run_folder",
    "Options": "stages.chain",
    "run_stages": "stages.chain",
    "stage_states": "stages.status",
    "MaskDistillError": "errors",
    "CheckpointError": "errors",
    "ConfigError": "errors",
    "DatasetError": "errors",
    "RunError": "errors",
}
__all__ = list(_MODULES)


def __getattr__(name: str) -> Any:
    """A name of ``__all__``, from its module (PEP 562)."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
    return value


def __dir__() -> list[str]:
    return ["__version__", *__all__]
