"""Every command that the documents name is run, or the reason why not is given."""

from documented_commands import COMMANDS, DOCUMENTS, ROOT, commands_of, pattern_of, plan_of

NAMED = [(command, document) for document in DOCUMENTS for command, _ in commands_of(document)]


def test_each_command_has_a_plan():
    """A new one belongs into COMMANDS in tests/data/documented_commands.py."""
    assert not [(document.name, command) for command, document in NAMED if plan_of(command) is None]


def test_no_plan_is_for_a_command_that_is_gone():
    assert not COMMANDS.keys() - {command for command, _ in NAMED}


def test_blocks_are_read():
    """So that an empty list of commands cannot pass."""
    readme = dict(commands_of(ROOT / "README.md"))
    assert "make app" in readme
    assert "proposals: " in readme[".venv/bin/maskdistill run --data sample --run runs/first"]


def test_numbers_of_a_printed_line_may_differ():
    assert pattern_of("loss 0.05, 13 masks: …") == r"loss\ [\d.]+,\ [\d.]+\ masks:\ .*"
