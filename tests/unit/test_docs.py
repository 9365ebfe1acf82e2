"""The documents against the code: links, paths, commands, targets and settings that they name exist."""

import ast
import re
from pathlib import Path

import pytest

from maskdistill.cli.main import main
from maskdistill.cli.settings_help import settings_markdown
from maskdistill.config import section_names, setting_names

ROOT = Path(__file__).parents[2]
DOCUMENTS = sorted([ROOT / "README.md", ROOT / "CHANGELOG.md", *ROOT.glob("CONTRIBUTING.md"), *ROOT.glob("docs/*.md")])
README_BYTES = 6656
PACKAGES = ("maskdistill", "app", "benchmarks", "pages", "tests")
INITS = sorted(path for name in ("maskdistill", "app") for path in (ROOT / name).rglob("__init__.py"))
FOLDERS = (*PACKAGES, "docs", "assets", ".ci")


@pytest.fixture(params=DOCUMENTS, ids=[path.name for path in DOCUMENTS])
def document(request):
    return request.param


def code(text):
    """What stands in backticks, then the lines of the blocks of code."""
    blocks = re.findall(r"^```.*?\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL)
    spans = re.findall(r"`([^`\n]+)`", re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL))
    return spans + [line for block in blocks for line in block.splitlines()]


def anchors(text):
    """The names that links within a page use, as GitHub makes them of headings."""
    titles = re.findall(r"^#+ (.*)$", text, flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def defined(name):
    """Whether a dotted name is a module of this repository, or is named in one."""
    parts = name.split(".")
    for count in range(len(parts), 0, -1):
        path = ROOT.joinpath(*parts[:count])
        for file in (path.with_suffix(".py"), path / "__init__.py"):
            if file.is_file():
                return all(re.search(rf"\b{part}\b", file.read_text(encoding="utf-8")) for part in parts[count:])
    return False


def test_links_lead_somewhere(document):
    text = document.read_text(encoding="utf-8")
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        if link.startswith("http"):
            continue
        path, _, anchor = link.partition("#")
        target = (document.parent / path) if path else document
        assert target.exists(), link
        assert not anchor or anchor in anchors(target.read_text(encoding="utf-8")), link


def test_paths_exist(document):
    for span in code(document.read_text(encoding="utf-8")):
        for path in re.findall(rf"(?<![\w./-])(?:{'|'.join(map(re.escape, FOLDERS))})/[\w./*-]*", span):
            assert list(ROOT.glob(path.rstrip("/."))), path


def test_modules_exist(document):
    for span in code(document.read_text(encoding="utf-8")):
        for name in re.findall(rf"(?<![\w./-])(?:{'|'.join(PACKAGES)})(?:\.\w+)+", span):
            assert defined(name), name


def test_targets_of_make_exist(document):
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for span in code(document.read_text(encoding="utf-8")):
        for line in re.findall(r"^make((?: [a-z-]+)+)", span):
            for target in line.split():
                assert re.search(rf"^{target}:", makefile, flags=re.MULTILINE), target


def test_settings_exist(document):
    names = rf"(?<![\w./-])(?:{'|'.join(section_names())})\.(?!json|parquet|npy)\w+(?=$|=|\s)"
    for span in code(document.read_text(encoding="utf-8")):
        for name in re.findall(names, span):
            assert name in setting_names() or defined(f"maskdistill.{name}"), name


def test_commands_and_flags_exist(document, capsys):
    for span in code(document.read_text(encoding="utf-8")):
        call = re.search(r"(?:^|/|time )maskdistill ((?:jobs )?[a-z-]\S*)([^#]*)", span)
        if call is None or "COMMAND" in span:
            continue
        with pytest.raises(SystemExit) as info:
            main([*call[1].split(), "--help"])
        assert info.value.code == 0, span
        known = capsys.readouterr().out
        for flag in re.findall(r"--[a-z-]+", call[2]):
            assert re.search(rf"{flag}\b", known), f"{span}: {flag}"


def test_readme_is_short():
    assert len((ROOT / "README.md").read_bytes()) <= README_BYTES


def test_settings_page_is_what_make_docs_settings_writes():
    assert (ROOT / "docs" / "settings.md").read_text(encoding="utf-8") == settings_markdown()


@pytest.mark.parametrize("path", INITS, ids=[str(path.parent.relative_to(ROOT)) for path in INITS])
def test_packages_say_what_they_are_for_and_name_modules_that_exist(path):
    source = path.read_text(encoding="utf-8")
    text = ast.get_docstring(ast.parse(source))
    assert text
    for name in re.findall(r"``(\w+)``", text):
        modules = (path.parent / f"{name}.py", path.parent / name, ROOT / name)
        assert any(module.exists() for module in modules) or source.count(name) > 1, name
