import subprocess
import sys
from pathlib import Path

import jobs_data
import pytest

from maskdistill.jobs import list_jobs
from maskdistill.storage.database import writing

TRIES = 15
RIVAL = Path(jobs_data.__file__).with_name("rival.py")


@pytest.fixture(scope="module")
def compete():
    """Has two servers do the same at once; returns what each says."""
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True, "bufsize": 1}
    servers = [subprocess.Popen([sys.executable, str(RIVAL)], **pipes) for _ in range(2)]
    assert [server.stdout.readline() for server in servers] == ["ready\n", "ready\n"]

    def both(what, run):
        for server in servers:
            server.stdin.write(f"{what} {run}\n")
        return sorted(server.stdout.readline().strip() for server in servers)

    yield both
    for server in servers:
        server.communicate()


def test_two_servers_start_one_job_once(compete, tmp_path):
    for attempt in range(TRIES):
        run = tmp_path / str(attempt)
        assert compete("submit", run) == ["1 False", "1 True"]
        assert len(list_jobs(run)) == 1
        assert (run / "starts").read_text() == "1\n"


def test_two_servers_resume_one_job_once(compete, tmp_path):
    compete("submit", tmp_path)
    for attempt in range(2, TRIES + 2):
        with writing(tmp_path) as db:
            db.execute("UPDATE jobs SET state = 'lost'")
        assert compete("resume", tmp_path) == ["1 False", "1 True"]
        assert list_jobs(tmp_path)[0].attempts == attempt
    assert (tmp_path / "starts").read_text() == "1\n" * (TRIES + 1)
