"""A server that competes with another one: does what it reads at the same moment as the other, and says what came.

It says "ready" first. Each line of standard input is ``submit RUN`` or ``resume RUN``. With ``start COMMAND`` as
arguments it starts processes that do a command of ``fake_worker.py``; without, it only notes in the run that it would
start one.
"""

import subprocess
import sys
from pathlib import Path

from maskdistill.jobs import resume_job, submit, submitting

FAKE_WORKER = Path(__file__).with_name("fake_worker.py")
popen = subprocess.Popen


def note_start(job):
    with (job.run / "starts").open("a") as file:
        file.write(f"{job.id}\n")
    return job


def start_fake(command, **options):
    return popen([sys.executable, str(FAKE_WORKER), *command[3:]], **options)


what_for = sys.argv[2] if sys.argv[1:2] == ["start"] else ""
if what_for:
    submitting.subprocess.Popen = start_fake
else:
    submitting._launch = note_start

sys.stdout.write("ready\n")
sys.stdout.flush()
for line in sys.stdin:
    what, run = line.split()
    if what == "submit":
        asked = submit(Path(run), ["run", "--data", what_for], title="", device="cpu", settings={})
    else:
        asked = resume_job(Path(run), 1)
    sys.stdout.write(f"{asked.job.id} {asked.is_new}\n")
    sys.stdout.flush()
