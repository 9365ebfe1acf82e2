"""Jobs that do what the fake command of a name does, in a test with the fixture ``started``; what is left of them."""

import psutil
from jobs_data import PATIENCE, wait_for

from maskdistill.cli.job_command import submit_command
from maskdistill.jobs import read_events, wait_until_ended


def ask(run, what, **options):
    """A job that does what the fake command of this name does."""
    return submit_command(run, ["run", "--data", what], title=what.capitalize(), **options).job


def do(run, what):
    """The same, once it has ended."""
    return wait_until_ended(ask(run, what), PATIENCE)


def ask_ready(run, what):
    """The same, once its command is at work."""
    job = ask(run, what)
    wait_for((run / "ready").exists)
    return job


def states_of(run, job_id):
    return [event.value["state"] for event in read_events(run, job_id) if event.kind == "state"]


def child_of(run):
    return int((run / "child").read_text())


def is_gone(pid):
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True
