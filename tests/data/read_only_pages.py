"""Opens every page on the one run of the runs folder, and tries to decide. A process of its own.

It prints JSON: what each page showed as errors, and what came of a decision on Clusters and on Audit.
"""

import json
import sys
from importlib import import_module
from pathlib import Path

from streamlit import config
from streamlit.testing.v1 import AppTest

from app.audit.label_store import LabelStore
from app.audit.mask_cards import Cards
from app.audit.queue import QueueSettings, queue_of
from app.audit.review_session import ReviewSession
from app.run_view import read_run_view
from maskdistill.storage.run_folder import list_runs, runs_folder

ROOT = Path(__file__).resolve().parents[2]
MAIN = ROOT / "app" / "main.py"
PAGES = sorted(path.stem for path in (ROOT / "pages").glob("*.py"))


def problems(app):
    return [item.value for item in (*app.exception, *app.error, *app.warning)]


def open_page(stem, **link):
    app = AppTest.from_file(MAIN, default_timeout=200).run().switch_page(f"../pages/{stem}.py")
    app.query_params.update(link)
    return app.run()


def reject_on_clusters(name):
    app = open_page("clusters", run=name, picked="cluster:1")
    button = next(item for item in app.button if item.label.startswith("Reject"))
    return problems(button.click().run())


def accept_on_audit(run):
    run_view = read_run_view(run)
    store, settings = LabelStore(run_view), QueueSettings("Ann")
    store.refresh()
    cards = Cards(run_view, store, settings, drawn=True)
    review = ReviewSession(store, settings, queue_of(run_view, store.labels, settings), cards)
    review.start(None)
    at = review.answer()["at"]
    action = {"seq": 1, "kind": "accept", "mask": at, "cluster": None}
    review.apply_message({"client": "tab", "number": 1, "actions": [action], "at": at, "cached": []})
    answer = review.answer()
    return {"error": answer["error"], "acked": answer["acked"]}


import_module("tiny_vit")  # whose weights the run was made with
config._main_script_path = str(MAIN)  # as Streamlit's command does, so that app/.streamlit counts
config.get_config_options(force_reparse=True)
(shown,) = list_runs(runs_folder())
found = {"pages": {stem: problems(open_page(stem, run=shown.name)) for stem in PAGES}}
found |= {"clusters": reject_on_clusters(shown.name), "audit": accept_on_audit(shown)}
sys.stdout.write(json.dumps(found))
