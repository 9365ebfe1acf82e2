import re

import pytest

from maskdistill.cli.main import main
from maskdistill.config import load_preset, setting_names


def printed(capsys, *arguments):
    with pytest.raises(SystemExit) as info:
        main(list(arguments))
    output = capsys.readouterr()
    return info.value.code, output.out, output.err


def values_of(text):
    return dict(re.findall(r"^[* ] (\S+?)=(.*?)(?:  .*)?$", text, flags=re.MULTILINE))


@pytest.mark.parametrize("command", ["run", "propose", "train-stage2"])
def test_lists_every_setting_without_a_run(command, capsys):
    code, out, err = printed(capsys, command, "--set", "help")
    assert (code, err) == (0, "")
    assert tuple(values_of(out)) == setting_names()
    assert max(map(len, out.splitlines())) <= 110


def test_shows_value_range_and_help(capsys):
    _, out, _ = printed(capsys, "run", "--set", "help=filter")
    assert re.search(r"^\* filter\.min_score=0\.4 +in \[0, 1\]\n +least mean probability", out, flags=re.MULTILINE)
    assert re.search(r"^  filter\.min_iou=0\.0 ", out, flags=re.MULTILINE)
    assert not any(name.startswith("labels") for name in values_of(out))


def test_values_are_those_of_the_preset_named_before(capsys):
    _, out, _ = printed(capsys, "run", "--preset", "paper-voc", "--set", "help=stage2")
    values = {name: str(value) for name, value in load_preset("paper-voc").to_dict()["stage2"].items()}
    assert values_of(out) == {f"stage2.{name}": {"True": "true"}.get(text, text) for name, text in values.items()}


def test_listed_values_are_values_that_set_takes(capsys):
    _, out, _ = printed(capsys, "run", "--set", "help")
    config = load_preset("quick")
    assert config.with_overrides([f"{name}={value}" for name, value in values_of(out).items()]) == config


def test_unknown_section_is_2_and_names_the_nearest(capsys):
    code, out, err = printed(capsys, "run", "--set", "help=filtr")
    assert (code, out) == (2, "")
    assert "No section of settings 'filtr'. Did you mean 'filter'?" in err


def test_help_says_how_to_list_them(capsys):
    _, out, _ = printed(capsys, "filter", "--help")
    assert "help explains all" in out
