"""Settings on the command line, and in the run.json of a run."""

import json
import random
from pathlib import Path
from typing import Any, Literal

from benchmarks.fault_cases.attempt import Attempt, Make, WrongError
from benchmarks.fault_cases.coco_files import other_value
from maskdistill.cli.main import parse
from maskdistill.cli.settings import read_settings
from maskdistill.config import RunConfig, load_preset, preset_names, setting_names
from maskdistill.storage.run_folder import Run

TEXTS = (
    "", " ", "nan", "inf", "-inf", "1e999", "1" * 400, "1" * 5000, "[" * 3000, "0x10", "1_000", "٣", "½", "1,5",
    "true", "True", "yes", "None", "null",
    "[]", "[1, 2", "1, 2, 3", "a, b", "{}", '"x"', "'x'", "0", "-1", "-0.0", "1.5", "1e-320", "\0", "\ud800",
    "x" * 5000, "$(rm)", "1; 2", "auto", "[null]",
)  # fmt: skip


def on_the_command_line(rng: random.Random, folder: Path) -> Attempt:
    """``--set`` of any name and any text."""
    name = rng.choice(setting_names())
    text = rng.choice(TEXTS) if rng.random() < 0.7 else json.dumps(other_value(rng))
    given = rng.choice(
        (f"{name}={text}",) * 8
        + (name, f"{name[:-1]}={text}", f"={text}", f" {name} = {text} ", f"{name.upper()}={text}", f"{name}.x={text}")
    )

    def act() -> Literal["read", "noted"]:
        options = parse(["run", "--run", str(folder / "run"), "--set", given])
        return _holds(read_settings(options, Run(folder / "run"))[0])

    return Attempt(
        act,
        (name, name[:-1], given.partition("=")[0].strip(), "section.name=value", name.upper()),
        f"--set {given[:60]!r}",
    )


def in_run_json(rng: random.Random, folder: Path) -> Attempt:
    """A run.json whose settings somebody has edited."""
    values = load_preset(rng.choice(preset_names())).to_dict()
    name = rng.choice(setting_names())
    section, _, leaf = name.rpartition(".")
    kind = rng.choice(("value", "value", "value", "section", "unknown", "gone", "whole"))
    if kind == "value":
        (values[section] if section else values)[leaf] = other_value(rng)
    elif kind == "section":
        values[section or "features"] = other_value(rng)
    elif kind == "unknown":
        values[section or "features"][rng.choice(("colour", "", "tau ", "\ud800"))] = 1
    elif kind == "gone":
        del (values[section] if section else values)[leaf]
    else:
        values = other_value(rng)
    run = Run(folder / "run")
    run.path.mkdir()
    (run.path / "run.json").write_text(
        json.dumps({"data": "sample", "preset": "quick", "config": values, "backbone": {"name": "focus_vits14"}})
    )

    def act() -> Literal["read", "noted"]:
        return _holds(read_settings(parse(["run", "--run", str(run.path)]), run)[0])

    names = (name, section or "features", "colour", "run.json", "The configuration")
    return Attempt(act, names, f"{kind} {name}: {json.dumps(_part(values, section, leaf))[:50]}")


def _part(values: Any, section: str, leaf: str) -> Any:
    part = values.get(section) if section and isinstance(values, dict) else values
    return part.get(leaf) if isinstance(part, dict) else part


def _holds(config: RunConfig) -> Literal["read"]:
    if RunConfig.from_dict(json.loads(json.dumps(config.to_dict()))) != config:
        raise WrongError("the settings do not come back from their file")
    return "read"


VARIETIES: dict[str, Make] = {"on the command line": on_the_command_line, "in run.json": in_run_json}
