"""Opens the Start page and presses the button, as a process of its own: ``press_find_masks.py NAME``."""

import sys
from pathlib import Path

from streamlit.testing.v1 import AppTest

from maskdistill.jobs import list_jobs, log_tail, wait_until_ended
from maskdistill.storage.run_folder import runs_folder

MAIN = Path(__file__).resolve().parents[2] / "app" / "main.py"

app = AppTest.from_file(MAIN, default_timeout=120).run()
app.selectbox(key="backbone").set_value("focus_vits14").run()
app.text_input(key="run name").set_value(sys.argv[1]).run()
next(item for item in app.button if item.label == "Find masks").click().run()
problems = [item.value for item in (*app.exception, *app.error)]
run = runs_folder() / sys.argv[1]
(job,) = list_jobs(run)
job = wait_until_ended(job, 500)
sys.stdout.write(f"{job.state} {problems}\n{job.message}\n{log_tail(run, job.id)}\n")
