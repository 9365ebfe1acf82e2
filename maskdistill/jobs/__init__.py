"""Background jobs: a command in a process of its own that outlives the browser tab and the server.

A job is a row of the run's ``run.sqlite`` and a log file. ``submit`` writes the row and starts the process
(``maskdistill.cli.job_worker``), which waits for its turn, calls the command line, and writes its progress into the
row. A run's jobs work one after the other, in the order they came; jobs of all runs share one slot a device. Listing
the jobs finds those whose process is gone: their state becomes ``JobState.LOST``, and they can be resumed.
"""

from maskdistill.jobs.control import current_job, get_job, stop_job, wait_until_ended
from maskdistill.jobs.logs import follow_log, log_path, log_tail
from maskdistill.jobs.reconcile import list_jobs
from maskdistill.jobs.records import Job, JobEvent, JobState, Submitted
from maskdistill.jobs.submitting import resume_job, submit
from maskdistill.jobs.table import read_events

__all__ = [
    "Job",
    "JobEvent",
    "JobState",
    "Submitted",
    "current_job",
    "follow_log",
    "get_job",
    "list_jobs",
    "log_path",
    "log_tail",
    "read_events",
    "resume_job",
    "stop_job",
    "submit",
    "wait_until_ended",
]
