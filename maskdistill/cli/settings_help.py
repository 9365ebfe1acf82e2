"""``--set``: collects ``section.name=value``, and lists every setting for ``--set help``.

``python -m maskdistill.cli.settings_help`` prints the same list as Markdown: ``docs/settings.md``.
"""

import argparse
import inspect
import json
import shutil
import sys
import textwrap
from collections.abc import Sequence

from maskdistill.config import RunConfig, Setting, describe_settings, load_preset, section_names
from maskdistill.errors import ConfigError

_INDENT = " " * 8  # before the help of a setting
_VALUES = 36  # columns of names and values, before what is allowed
_WIDEST = 110  # columns of the list on a wide terminal
_MARKDOWN_HEAD = """# Settings

Made by `make docs-settings` from `maskdistill.config`: change it there, not here.

`--set section.name=value` changes a setting of a run, and `maskdistill run --set help` prints this list in a terminal.
The settings in bold are those that people change most. Lists are written as `[9, 12]`. The preset `paper-coco` is
`paper-voc` with other values of: """


class SetAction(argparse.Action):
    """Appends to a list; ``help`` and ``help=section`` print the settings and end the program, as ``--help`` does."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: str | Sequence[str] | None,
        option_string: str | None = None,
    ) -> None:
        """Called by argparse for each ``--set``."""
        word, _, section = str(values).partition("=")
        if word.strip() != "help":
            setattr(namespace, self.dest, [*getattr(namespace, self.dest), values])
            return
        try:
            text = list_settings(getattr(namespace, "preset", None) or "quick", section.strip())
        except ConfigError as error:
            parser.error(str(error))
        sys.stdout.write(text)
        parser.exit()


def list_settings(preset: str, section: str = "") -> str:
    """Every setting with a preset's value, what it may be, and what it means.

    Args:
        preset: Name of the preset.
        section: Only this section; empty for all.

    Raises:
        ConfigError: If there is no such section or preset (the nearest is suggested).
    """
    config = load_preset(preset)
    width = min(shutil.get_terminal_size().columns, _WIDEST)
    head = f"Settings, with the values of the preset {preset}. * marks those that people change most."
    lines = textwrap.wrap(head, width)
    for name in [section] if section else ["", *section_names()]:
        lines.append("")
        for setting in describe_settings(name):
            lines += _describe(setting, config, width)
    return "\n".join(lines) + "\n"


def settings_markdown() -> str:
    """Every setting as Markdown: a table a section, with the values of the presets ``quick`` and ``paper-voc``."""
    quick, voc, coco = (load_preset(name) for name in ("quick", "paper-voc", "paper-coco"))
    lines, changed = [], []
    for name in ["", *section_names()]:
        title = f"`{name}`" if name else "The whole run"
        about = (inspect.getdoc(getattr(quick, name) if name else quick) or "").partition("\n\n")[0]
        lines += [
            f"## {title}",
            "",
            about,
            "",
            "| setting | quick | paper-voc | may be | what it does |",
            "|---" * 5 + "|",
        ]
        for setting in describe_settings(name):
            values = [_value(setting, config) for config in (quick, voc, coco)]
            bold = "" if setting.advanced else "**"
            cells = [f"{bold}`{setting.full_name}`{bold}", *(f"`{text}`" if text else "" for text in values[:2])]
            lines.append(f"| {' | '.join([*cells, setting.allowed, setting.help.replace('|', '&#124;')])} |")
            if values[1] != values[2]:
                changed.append(f"`{setting.full_name}={values[2]}`")
        lines.append("")
    return "\n".join([f"{_MARKDOWN_HEAD}{', '.join(changed)}.", "", *lines])


def _value(setting: Setting, config: RunConfig) -> str:
    value = setting.value_in(config)
    return value if isinstance(value, str) else json.dumps(value)


def _describe(setting: Setting, config: RunConfig, width: int) -> list[str]:
    text = _value(setting, config)
    mark = " " if setting.advanced else "*"
    return [
        f"{f'{mark} {setting.full_name}={text}':<{_VALUES}}  {setting.allowed}".rstrip(),
        *textwrap.wrap(setting.help, width, initial_indent=_INDENT, subsequent_indent=_INDENT),
    ]


if __name__ == "__main__":
    sys.stdout.write(settings_markdown())
