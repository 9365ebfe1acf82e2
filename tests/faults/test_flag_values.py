"""Odd values for every flag of every command: done, or refused in a line with exit code 2; no traceback, no waiting.

The flags are those that the parser knows, so that a new one is tried by itself.
"""

import argparse
import os
import pwd
import random
import shutil
import signal
from contextlib import contextmanager

import pytest
from tiny_run import draw_voc, run_chain, tiny_config

from maskdistill.cli import serve
from maskdistill.cli.main import build_parser, main
from maskdistill.errors import RunError
from maskdistill.stages import chain, propose
from maskdistill.storage.run_folder import Run

UNEXPECTED = (ArithmeticError, AttributeError, LookupError, MemoryError, OSError, RuntimeError, TypeError, ValueError)
PATIENCE = 30  # seconds, after which a command counts as one that waits for ever
NUMBER = 50  # cases of the fast test
PLAIN = {
    "empty": "",
    "blank": " ",
    "NaN": "NaN",
    "infinite": "inf",
    "beyond a float": "1e309",
    "negative": "-1",
    "huge": str(10**30),
    "more digits than Python reads": "9" * 5000,
    "a fraction": "0.5",
    "long": "a" * 5000,
    "very long": "a/" * 100_000,
    "with a null byte": "a\0b",
    "no UTF-8": "a\udcffb",
    "digits of another script": "٣",
    "superscript": "²",
    "two lines": "a\nb",
    "a quote": "'\"",
    "home of nobody": "~nobody-of-this-name/x",
    "home": "~",
    "below home": "~/x\0",
    "nothing": "/dev/null",
    "a folder of the system": "/proc/self/fd",
    "a process": "/proc/self/mem",
    "a flag": "--data",
}
SYSTEM = ("a folder of the system", "a process")
PLACES = ("a folder", "a file", "a pipe", "a link to itself", "a dangling link", "a file below a file")


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("flags")
    run_chain(folder / "run", draw_voc(folder / "voc", 4, 0), tiny_config(folder), wanted=("stage2",))
    return Run(folder / "run")


@pytest.fixture
def place(whole, tmp_path, monkeypatch):
    """A folder with a finished run, a picture to predict, and odd files; work that takes long ends where it begins."""
    shutil.copytree(whole.path, tmp_path / "run")
    draw_voc(tmp_path / "voc", 2, 0)
    shutil.copytree(tmp_path / "voc" / "JPEGImages", tmp_path / "pictures")
    (tmp_path / "a folder").mkdir()
    (tmp_path / "a file").write_text("{}")
    os.mkfifo(tmp_path / "a pipe")
    (tmp_path / "a link to itself").symlink_to("a link to itself")
    (tmp_path / "a dangling link").symlink_to("nowhere")

    def accepted(*_arguments, **_more):
        raise RunError("Accepted.")

    monkeypatch.setattr(propose, "_process", accepted)
    monkeypatch.setattr(chain, "_do_all", accepted)
    monkeypatch.setattr(serve.os, "execve", accepted)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def commands(parser=None, names=()):
    """Every command with its parser."""
    parser = parser or build_parser()
    nested = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    for action in nested:
        for name, other in action.choices.items():
            yield from commands(other, (*names, name))
    if not nested:
        yield names, parser


def cases():
    """(words of the command, its flag or "" for a word that stands alone, kind of value)."""
    for names, parser in commands():
        for action in parser._actions:
            if action.nargs != 0:
                flag = action.option_strings[-1] if action.option_strings else ""
                yield from ((names, flag, kind) for kind in (*PLAIN, *PLACES))


def command_line(place, names, flag, kind):
    """The command with that value, and with what it needs besides."""
    value = PLAIN[kind] if kind in PLAIN else str(place / ("a file/x" if kind == "a file below a file" else kind))
    parser = dict(commands())[names]
    usual = {
        **({} if names == ("app",) else {"--run": place / "run"}),
        "--images": place / "pictures",
        "--photo": next((place / "pictures").iterdir()),
        "--html": place / "page.html",
        "--out": place / "out",
        "--format": "coco",
        "--seed": "3" if names == ("run",) else None,
        "--num-classes": "2" if names == ("try",) else None,
    }
    known = {name for action in parser._actions for name in action.option_strings}
    usual = {name: given for name, given in usual.items() if given is not None and name in known and name != flag}
    if names == ("try",) and flag == "--num-classes":
        usual.pop("--num-classes", None)
    return [*names, *(f"{name}={given}" for name, given in usual.items()), f"{flag}={value}" if flag else value]


@contextmanager
def patience(case):
    def complain(*_):
        raise AssertionError(f"{case} waits")

    before = signal.signal(signal.SIGALRM, complain)
    signal.alarm(PATIENCE)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def outcome(place, case, capfd):
    """What is wrong with how a command takes a value; empty if nothing is."""
    with patience(case):
        try:
            code = main(command_line(place, *case))
        except SystemExit as ended:
            code = ended.code
        except UNEXPECTED as error:
            return f"{case}: {type(error).__name__}: {str(error)[:200]}"
    said = capfd.readouterr().err
    if code not in ((0, 1, 2) if case[2] in SYSTEM else (0, 2)):  # 1: what the system says when it is written to
        return f"{case}: exit code {code}: {said[:300]}"
    if code == 2 and ("Traceback" in said or len(said) > 10_000 or not said.strip()):
        return f"{case}: {said[:300]}"
    return ""


def problems(place, whole, chosen, capfd):
    found = []
    for case in chosen:
        found.append(outcome(place, case, capfd))
        shutil.rmtree(place / "out", ignore_errors=True)
    assert (place / "a file").read_text() == "{}" or "--csv" in {flag for _, flag, _ in chosen}
    return [problem for problem in found if problem]


def test_every_flag_is_tried():
    flags = {(names, flag) for names, flag, _ in cases()}
    assert {(("run",), "--data"), (("app",), "--roots"), (("jobs", "logs"), "")} < flags
    assert len(flags) > 120


def test_odd_values_are_taken_or_refused(place, whole, capfd):
    chosen = random.Random(13).sample(list(cases()), NUMBER)
    assert problems(place, whole, chosen, capfd) == []


@pytest.mark.slow
@pytest.mark.parametrize("names", [names for names, _ in commands()], ids=" ".join)
def test_every_odd_value_is_taken_or_refused(place, whole, names, capfd):
    assert problems(place, whole, [case for case in cases() if case[0] == names], capfd) == []


@pytest.mark.parametrize("flag", ["--run", "--data"])
def test_home_that_nobody_knows(place, flag, capfd, monkeypatch):
    def unknown(*_):
        raise KeyError

    monkeypatch.delenv("HOME")
    monkeypatch.setattr(pwd, "getpwuid", unknown)
    assert outcome(place, (("run",), flag, "home"), capfd) == ""
