"""What the package asks for: libraries listed once, each with the oldest and the first unknown version."""

import re
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement

import maskdistill

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
EXTRAS = PROJECT["optional-dependencies"]
LIBRARIES = [
    Requirement(line) for line in [*PROJECT["dependencies"], *(each for lines in EXTRAS.values() for each in lines)]
]


@pytest.mark.parametrize("library", LIBRARIES, ids=str)
def test_versions_have_two_ends(library):
    ends = {each.operator for each in library.specifier}
    assert ends == {"=="} or {">=", "<"} <= ends


def test_libraries_are_listed_once():
    names = [library.name.lower() for library in LIBRARIES]
    assert len(set(names)) == len(names)
    for file in ("requirements.txt", "requirements-dev.txt", "requirements-fuzz.txt"):
        lines = (ROOT / file).read_text(encoding="utf-8").splitlines()
        wanted = [re.split(r"[^\w-]", line)[0].lower() for line in lines if re.match(r"\w", line)]
        assert not set(names) & set(wanted), file


def test_requirements_bring_the_project_with_extras_that_exist():
    for file in ("requirements.txt", "requirements-dev.txt"):
        lines = (ROOT / file).read_text(encoding="utf-8").splitlines()
        extras = [name for line in lines if line.startswith("-e .[") for name in line[5:-1].split(",")]
        assert extras
        assert set(extras) <= EXTRAS.keys()


def test_version_is_the_same_everywhere():
    changes = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    unreleased, released = re.findall(r"^## (.*)$", changes, flags=re.MULTILINE)[:2]
    version, day = re.fullmatch(r"(\S+) \((\S+)\)", released).groups()
    citation = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert unreleased == "Unreleased"
    assert version == maskdistill.__version__
    assert f"\nversion: {version}\ndate-released: {day}\n" in citation


def test_actions_are_pinned_and_run_what_ci_runs():
    texts = {path: yaml.safe_load(path.read_text(encoding="utf-8")) for path in (ROOT / ".github").rglob("*.yml")}
    jobs = texts[ROOT / ".github" / "workflows" / "check.yml"]["jobs"]
    steps = [step for job in jobs.values() for step in job["steps"]]
    assert {"run": "bash .ci/run"} in steps
    assert all(re.fullmatch(r"[\w/-]+@[0-9a-f]{40}", step["uses"]) for step in steps if "uses" in step)
    forms = [text for path, text in texts.items() if path.parent.name == "ISSUE_TEMPLATE" and path.stem != "config"]
    assert forms
    for form in forms:
        assert form.keys() >= {"name", "description", "body"}
        ids = [field["id"] for field in form["body"] if field["type"] != "markdown"]
        assert len(set(ids)) == len(ids)


def test_container_gets_what_the_wheel_is_built_from():
    """COPY fails for what .dockerignore leaves out."""
    allowed = {
        line[1:] for line in (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines() if line[:1] == "!"
    }
    copied = re.findall(r"^COPY (?!--from)(.*) \S+$", (ROOT / "Dockerfile").read_text(encoding="utf-8"), flags=re.M)
    assert {name for line in copied for name in line.split()} == allowed
    assert all((ROOT / name).exists() for name in allowed)
