"""The commands that README, CONTRIBUTING, SECURITY and docs/ name, and how each is tried.

``tests/unit/test_documented_commands.py`` fails for a command that stands in the documents and not in ``COMMANDS``;
``tests/slow/test_documented_commands.py`` runs them in a clean clone, in the order of the documents.
"""

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md")] + sorted(ROOT.glob("docs/*.md"))
PROGRAM = re.compile(
    r"(?!maskdistill [a-z]+$)(?:\S*/)?(?:maskdistill|make|python3?|pip|docker|time) \S"
)  # and no mere name
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```\n", flags=re.MULTILINE | re.DOTALL)
# Any of them takes minutes to days, on photos with ground truth or files from elsewhere: see ``plan_of``.
LONG = ("python -m benchmarks.", "maskdistill probe-features ", "maskdistill reproduce ")


@dataclass(frozen=True)
class Plan:
    """How a command is tried."""

    run: str = ""  # what is typed instead; empty: the command as it stands
    shown: bool = False  # the lines beneath its block are printed, up to numbers
    prints: str = ""  # regular expression, somewhere in the output
    makes: tuple[str, ...] = ()  # patterns of files that are there afterwards
    serves: bool = False  # a server, which is asked for its health and ended
    help_only: bool = False  # only its --help, which has to know the flags
    why_not: str = ""  # why it is not run


_NETWORK = Plan(why_not="needs a package index")
_DOCKER = Plan(why_not="needs a Docker daemon and base images")
_CI = Plan(why_not=".ci/run runs it on a clean clone")
_RAY = Plan(why_not="needs ray; tests/slow/test_cluster.py does it where there is one")
_LAUNCHER = Plan(why_not="wants two machines; tests/unit/stages/test_train_processes.py does it on one")
_KUBERNETES = Plan(why_not="wants a Kubernetes cluster")
_ON_KUBERNETES = "maskdistill run --data /data/photos --run /data/RUN --engine ray --address auto"
_RANK = "-m maskdistill.stages.train_processes RUN stage2"
_MEASURED = Plan(help_only=True)  # takes minutes to hours on photos with ground truth
RUN = "runs/first"
_FEW_STEPS = "--set instances.composites=20 --set instances.epochs=1"

COMMANDS: dict[str, Plan] = {
    # README.md
    "make install": Plan(makes=(".venv/bin/maskdistill",)),
    ".venv/bin/maskdistill run --data sample --run runs/first": Plan(shown=True, makes=("runs/first/umap_xy.npy",)),
    "make app": Plan(run='make app APP="--port {port}"', serves=True),
    "maskdistill run --run RUN --set filter.min_score=0.6": Plan(
        run=f"maskdistill run --run {RUN} --set filter.min_score=0.6", prints=r"(?m)^filter: "
    ),
    "maskdistill status --run RUN": Plan(run=f"maskdistill status --run {RUN}", prints="stage2"),
    "maskdistill predict --run RUN --images new/ --out maps/ --crf": Plan(
        run=f"maskdistill predict --run {RUN} --images new/ --out maps/ --crf", makes=("maps/**/*.png",)
    ),
    "maskdistill export --run RUN --format coco --out out/ --kept-only": Plan(
        run=f"maskdistill export --run {RUN} --format coco --out out/ --kept-only", makes=("out/**/*.json",)
    ),
    "maskdistill import --data photos/ --masks sam.json --run RUN": Plan(
        run="maskdistill import --data sample --masks out/ --run runs/brought", prints="masks: imported from"
    ),
    "maskdistill export --run RUN --format onnx --out out/": Plan(
        run=f"maskdistill export --run {RUN} --format onnx --out onnx/", makes=("onnx/model.onnx",)
    ),
    "maskdistill guide --photo FILE --html OUT": Plan(
        run='maskdistill guide --photo "$(ls new/*.png | head -1)" --backbone focus_vits14 --html guide.html',
        makes=("guide.html",),
    ),
    "maskdistill report --run RUN --html OUT": Plan(
        run=f"maskdistill report --run {RUN} --html report.html", makes=("report.html",)
    ),
    "maskdistill run --run RUN --set instances.enabled=on": Plan(
        run=f"maskdistill run --run {RUN} --set instances.enabled=on --until instances {_FEW_STEPS}",
        prints=r"(?m)^instances: ",
    ),
    ".venv/bin/pip install -e '.[heic]'": _NETWORK,
    "maskdistill app --runs RUNS": Plan(run="maskdistill app --runs runs --port {port}", serves=True),
    "maskdistill app --help": Plan(prints="--runs"),
    "maskdistill --help": Plan(prints="export"),
    "maskdistill run --set evaluation.probe=true": _MEASURED,
    "maskdistill run --num-classes 14": _MEASURED,
    "make check test": _CI,
    # CONTRIBUTING.md, SECURITY.md, docs/
    "make test-browser": _CI,
    "make docs": _CI,
    "make test-run": _CI,
    "make test-oldest": _NETWORK,
    "make format": Plan(why_not="changes files; make check, in .ci/run, sees that it has nothing to do"),
    "make docs-settings": Plan(makes=("docs/settings.md",)),
    "maskdistill --version": Plan(prints=r"\d+\.\d+\.\d+"),
    "make audit": _NETWORK,
    "make fuzz": _CI,
    "make check": _CI,
    "make faults": Plan(why_not="takes ten minutes; tests/faults holds cases of every kind"),
    "make test-slow": Plan(why_not="takes hours, and is what runs this"),
    "make dist": Plan(why_not="needs a package index; tests/slow/test_wheel.py builds the wheel without"),
    "python3 -m venv explorer": Plan(why_not="tests/slow/test_wheel.py makes such an environment"),
    "explorer/bin/pip install dist/maskdistill-0.2.0-py3-none-any.whl": _NETWORK,
    "explorer/bin/maskdistill app": Plan(why_not="tests/slow/test_wheel.py starts it"),
    "pip install 'dist/maskdistill-0.2.0-py3-none-any.whl[crf,heic]'": _NETWORK,
    "explorer/bin/pip install torch torchvision --index-url https://download.pytorch.org/whl/cpu": _NETWORK,
    "docker build --tag maskdistill .": _DOCKER,
    "mkdir -p runs": Plan(makes=("runs",)),
    'docker run --rm --publish 127.0.0.1:8501:8501 --volume "$PWD/photos:/photos:ro" --volume "$PWD/runs:/runs" '
    "maskdistill": _DOCKER,
    "docker compose up": _DOCKER,
    'docker run --rm --volume "$PWD/runs:/runs" maskdistill run --data sample --run /runs/first': _DOCKER,
    "maskdistill import --data photos/ --masks masks.json --run runs/theirs": Plan(
        run="maskdistill import --data sample --masks out/annotations/instances.json --run runs/theirs",
        makes=("runs/theirs/proposals.json",),
    ),
    "maskdistill run --run runs/theirs": Plan(
        run="maskdistill run --run runs/theirs --until classes", prints="classes"
    ),
    "maskdistill propose --data sample": Plan(
        run="maskdistill propose --data sample --run runs/masks", makes=("runs/masks/*",)
    ),
    "maskdistill run --preset scenes --until instances": _MEASURED,
    "maskdistill embed --run RUN --data sample --preset scenes": _MEASURED,
    "maskdistill run --run R --set evaluation.probe=true": _MEASURED,
    "maskdistill run --preset quick --num-classes 14 --set predictions.crf=false --seed N "
    "--until evaluation": _MEASURED,
    "time maskdistill run --data path/to/msrc --run R --num-classes 14": _MEASURED,
    "maskdistill run --run RUN": Plan(run=f"maskdistill run --run {RUN} --until evaluation", prints="evaluation"),
    "maskdistill decisions --run RUN --csv FILE": Plan(
        run=f"maskdistill decisions --run {RUN} --csv decisions.csv", makes=("decisions.csv",)
    ),
    "maskdistill run --set help": Plan(prints=r"filter\.min_score"),
    "maskdistill app --runs /srv/maskdistill/runs --roots /srv/photos /srv/weights --address 127.0.0.1": Plan(
        run="maskdistill app --runs runs --roots new maps --address 127.0.0.1 --port {port}", serves=True
    ),
    "maskdistill app --address 0.0.0.0 --allow-host masks.lab.example": Plan(
        run="maskdistill app --address 127.0.0.1 --allow-host masks.lab.example --port {port}", serves=True
    ),
    "pip install -e '.[auth]'": _NETWORK,
    ".venv/bin/pip install -e '.[onnx]'": _NETWORK,
    ".venv/bin/pip install -e '.[ray]'": _NETWORK,
    "maskdistill run --data photos/ --run RUN --engine ray --workers 2": _RAY,
    "maskdistill run --data photos/ --run RUN --engine ray --address FIRST:6379": _RAY,
    "ray start --head --port 6379 --include-dashboard=false": _RAY,
    "ray start --address FIRST:6379": _RAY,
    "ray start --head --num-cpus=2 --include-dashboard=false --object-store-memory=200000000": _RAY,
    "RAY_ADDRESS=auto maskdistill run --data photos/ --run RUN --engine ray": _RAY,
    "pip install 'maskdistill[ray]'": _NETWORK,
    "maskdistill run --until proposals": Plan(
        run=f"maskdistill run --run {RUN} --until proposals", prints="Nothing to do"
    ),
    "maskdistill export --format coco --what proposals": Plan(
        run=f"maskdistill export --run {RUN} --format coco --what proposals --out proposals/",
        makes=("proposals/*.json",),
    ),
    "maskdistill export --format coco --what candidates": Plan(
        run=f"maskdistill export --run {RUN} --format coco --what candidates --out candidates/",
        makes=("candidates/*.json",),
    ),
    "ray stop": _RAY,
    "kubectl apply -f cluster.yaml": _KUBERNETES,
    f"kubectl exec -it svc/CLUSTER-head-svc -- {_ON_KUBERNETES}": _KUBERNETES,
    f"accelerate launch --multi_gpu --num_machines 2 --num_processes 8 {_RANK}": _LAUNCHER,
    f"torchrun --nnodes 2 --nproc-per-node 4 {_RANK}": _LAUNCHER,
    "maskdistill propose --data photos/ --run RUN --shard 3/16": Plan(
        run="maskdistill propose --data sample --run runs/shared --shard 3/16", prints="left to other shards"
    ),
    "make test-readers": _NETWORK,
    "maskdistill export --run RUN --format FORMAT --out out/": Plan(
        run=f"maskdistill export --run {RUN} --format huggingface --out huggingface/",
        makes=("huggingface/**/*.parquet",),
    ),
    "maskdistill guide --photo FILE --run RUN --html OUT": Plan(
        run=f'maskdistill guide --photo "$(ls new/*.png | head -1)" --run {RUN} --html guide-run.html',
        makes=("guide-run.html",),
    ),
}


def plan_of(command: str) -> Plan | None:
    """How it is tried; None if nobody has said."""
    return _MEASURED if command.startswith(LONG) else COMMANDS.get(command)


def commands_of(document: Path) -> list[tuple[str, str]]:
    """Commands of a document in their order, each with the text that its block shows beneath, once each."""
    text = document.read_text(encoding="utf-8")
    found: dict[str, str] = {}
    end = 0
    for block in BLOCK.finditer(text):
        found |= dict.fromkeys(_spans(text[end : block.start()]), "")
        end = block.end()
        if block[1] == "sh":
            found |= dict.fromkeys(_lines(block[2]), _shown_after(text, end))
    found |= {span: "" for span in _spans(text[end:]) if span not in found}
    return list(found.items())


def python_blocks() -> list[tuple[Path, str]]:
    """Blocks of Python with the document that they stand in."""
    texts = [(document, document.read_text(encoding="utf-8")) for document in DOCUMENTS]
    return [(document, block[2]) for document, text in texts for block in BLOCK.finditer(text) if block[1] == "python"]


def pattern_of(line: str) -> str:
    """A regular expression for a printed line: any numbers and durations, anything for an ellipsis."""
    numbers = re.sub(r"\d+(?:\\\.\d+)?", r"[\\d.]+", re.escape(line.strip()))
    return re.sub(r"(\[\\d\.\]\+\\ s\b)", r"(?:[\\d.]+\\ min\\ )?\1", numbers).replace("…", ".*")


def _shown_after(text: str, end: int) -> str:
    """The next block, if it has no language: what the one before it prints."""
    beneath = BLOCK.search(text, end)
    return beneath[2] if beneath and not beneath[1] else ""


def _lines(block: str) -> list[str]:
    joined = re.sub(r"\\\n\s*", "", block)
    return [line for raw in joined.splitlines() if (line := re.sub(r"(^|\s+)#\s.*$", "", raw).strip())]


def _spans(text: str) -> list[str]:
    spans = (" ".join(span.split()) for span in re.findall(r"`([^`]+)`", text))
    return [span for span in spans if PROGRAM.match(span)]
