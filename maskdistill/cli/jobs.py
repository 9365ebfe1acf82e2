"""``maskdistill jobs``: background jobs for people without a browser."""

import argparse
import json
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from maskdistill.errors import JobError
from maskdistill.jobs import (
    Job,
    JobEvent,
    follow_log,
    get_job,
    list_jobs,
    log_tail,
    read_events,
    resume_job,
    stop_job,
    wait_until_ended,
)
from maskdistill.storage.progress import format_duration

# Far more than a job takes to stop, or a hung one to be found out and ended.
_PATIENCE = 180.0  # seconds
_INTERNAL = ("process", "token", "beat", "turn", "oom_kills", "folder")


def list_command(options: argparse.Namespace) -> str:
    """Every job, newest first."""
    jobs = _jobs_of(options.run)
    if options.json:
        return json.dumps([_as_json(job) for job in jobs])
    return "\n".join(job.text for job in jobs) or f"No jobs in {options.run}."


def show_command(options: argparse.Namespace) -> str:
    """All that is known of a job."""
    job = _find(options)
    events = read_events(job.run, job.id)
    if options.json:
        return json.dumps({**_as_json(job), "events": [event.__dict__ for event in events]})
    times = {"Created": job.created, "Started": job.started, "Ended": job.ended}
    rows = {
        "Job": f"{job.id} {job.title}",
        "State": ", ".join(filter(None, (job.state, job.how_far))),
        "Message": job.message,
        "Command": job.command,
        **{name: time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(value)) for name, value in times.items() if value},
        "At work": f"{format_duration(job.seconds)}, attempt {job.attempts}",
        "Device": job.device,
        "Process": f"{job.pid} on {job.host}" if job.process else "",
        "Epochs": _last_epoch(events),
    }
    return "\n".join(f"{name:8} {value}" for name, value in rows.items() if value)


def stop_command(options: argparse.Namespace) -> str:
    """Ask, and wait until it has ended."""
    job = _find(options, lambda job: job.state.is_active)
    if not job.state.is_active:
        raise JobError(f"Job {job.id} of {job.run} is {job.state} already.")
    return wait_until_ended(stop_job(job.run, job.id), _PATIENCE).text


def resume_command(options: argparse.Namespace) -> str:
    """Into the queue again; returns at once."""
    job, is_new = resume_job(options.run, _find(options, lambda job: job.state.can_resume).id)
    if not is_new:
        return f"Nothing to do: {job.text}"
    return f"Job {job.id} goes on in the background: maskdistill jobs logs --run {options.run} {job.id} --follow"


def logs_command(options: argparse.Namespace) -> str:
    """The last lines, or all that comes until the job has ended."""
    job = _find(options)
    if not options.follow:
        return log_tail(job.run, job.id, options.lines)
    try:
        for text in follow_log(job.run, job.id, lambda: not get_job(job.run, job.id).state.is_active):
            sys.stdout.write(text)
            sys.stdout.flush()
    except KeyboardInterrupt:  # ends the looking, not the job
        return ""
    return get_job(job.run, job.id).text


def _find(options: argparse.Namespace, fits: Callable[[Job], bool] = lambda _job: True) -> Job:
    """The job that was named; else the newest that fits, else the newest."""
    if options.id is not None:
        return get_job(options.run, options.id)
    jobs = _jobs_of(options.run)
    if not jobs:
        raise JobError(f"No jobs in {options.run}.")
    return next(filter(fits, jobs), jobs[0])


def _jobs_of(run: Path) -> list[Job]:
    if not run.is_dir():
        raise JobError(f"No run folder {run}. --run wants the folder that the job works on.")
    return list_jobs(run)


def _last_epoch(events: Sequence[JobEvent]) -> str:
    epochs = [event.value for event in events if event.kind == "epoch"]
    if not epochs:
        return ""
    last = epochs[-1]
    numbers = {**last.get("losses", {}), **last.get("metrics", {})}
    return f"{last['stage']} {last['epoch']}: " + ", ".join(f"{name} {value:.4g}" for name, value in numbers.items())


def _as_json(job: Job) -> dict[str, Any]:
    values = {name: value for name, value in vars(job).items() if name not in _INTERNAL}
    return {**values, "run": str(job.run), "pid": job.pid, "host": job.host, "command": job.command}
