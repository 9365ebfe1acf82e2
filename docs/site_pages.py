"""Pages of the documentation that are no files in docs/: those at the root, and the pages of the library.

Links are written for the repository's folders; here they become those of the pages.
"""

import json
import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

import maskdistill

ROOT = Path(maskdistill.__file__).parents[1]
AT_ROOT = {
    "README.md": "index.md",
    **{name: name for name in ("CHANGELOG.md", "CODE_OF_CONDUCT.md", "CONTRIBUTING.md", "LICENSE", "SECURITY.md")},
}
# What people build on, by package; the names of ``maskdistill`` itself stand on a page of their own.
LIBRARY = {
    "datasets": ("Photos", ["datasets", "datasets.records", "datasets.transforms"]),
    "config": ("Settings", ["config", "config.proposals", "config.clusters", "config.labels", "config.training"]),
    "features": ("The transformer", ["features.backbone", "features.registry", "features.forward"]),
    "proposals": (
        "Masks of a photo",
        [
            *("proposals.propose", "proposals.normalized_cut", "proposals.published_rule", "proposals.pool"),
            *("proposals.foreground", "proposals.refinement", "proposals.crf", "proposals.scoring"),
        ],
    ),
    "clustering": (
        "Clusters",
        [
            *("clustering.mask_embeddings", "clustering.embedding_space", "clustering.kmeans"),
            *("clustering.model_selection", "clustering.find_clusters", "clustering.neighbors"),
        ],
    ),
    "evaluation": (
        "Measures, for reporting only",
        ["evaluation.confusion", "evaluation.mask_ap", "evaluation.region_metrics", "evaluation.report"],
    ),
    "stages": ("Stages and the run", ["stages.chain", "stages.plan", "stages.status", "storage.run_folder", "errors"]),
    "exports": ("Exports", ["exports.run", "exports.records", "exports.coco", "exports.voc", "exports.yolo"]),
}


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the files at the root, the pictures, and the pages of the library."""
    for name, uri in AT_ROOT.items():
        files.append(File.generated(config, uri, content=(ROOT / name).read_text(encoding="utf-8")))
    for picture in sorted((ROOT / "assets").iterdir()):
        files.append(File.generated(config, f"assets/{picture.name}", abs_src_path=str(picture)))
    files.append(File.generated(config, "library/index.md", content=_public_names()))
    for name, (title, modules) in LIBRARY.items():
        text = "\n\n".join([f"# {title}", *map(_module, modules)])
        files.append(File.generated(config, f"library/{name}.md", content=text))
    return files


def on_page_markdown(markdown: str, page: Page, **_: object) -> str:
    """Links between the folders of the repository, as links between pages."""
    if page.file.src_uri in AT_ROOT.values():
        markdown = re.sub(r"\]\(docs/", "](", markdown)
    else:
        markdown = re.sub(r"\]\(\.\./(?=[\w-]+\.md|assets/)", "](", markdown)
    return markdown.replace("](README.md", "](index.md")


def _module(module: str) -> str:
    """A module without the names that stand on the page of the public ones."""
    public = [name for name, where in maskdistill._MODULES.items() if where == module]
    hidden = ["!^_", *(f"!^{name}$" for name in public)]
    return f"::: maskdistill.{module}\n    options:\n      filters: {json.dumps(hidden)}"


def _public_names() -> str:
    """What ``import maskdistill`` gives, in its order."""
    names = [f"::: maskdistill.{module}.{name}" for name, module in maskdistill._MODULES.items()]
    about = "`import maskdistill as md` gives these; each is imported when it is first used."
    return "\n\n".join(["# Public names", about, *names])
