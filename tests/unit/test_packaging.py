"""What the package asks for: libraries listed once, each with the oldest and the first unknown version."""

import re
import tomllib
from pathlib import Path

import pytest
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
