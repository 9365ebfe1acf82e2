"""The first page of a fresh server must not wait for what only other pages need."""

import ast
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
HEAVY = ("torch", "timm", "scipy.ndimage", "sklearn", "umap")


def imports_of(name):
    statements = ast.parse((ROOT / name).read_text(encoding="utf-8")).body
    return [ast.unparse(item) for item in statements if isinstance(item, (ast.Import, ast.ImportFrom))]


def test_pages_that_only_look_at_a_run_load_no_torch():
    lines = [
        line
        for page in ("clusters", "filter", "training", "results", "audit")
        for line in imports_of(f"pages/{page}.py")
    ]
    lines += ["import sys", "print({'torch', 'timm'} & set(sys.modules))"]
    done = subprocess.run([sys.executable, "-c", "\n".join(lines)], cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stdout.strip()) == (0, "set()"), done.stderr


def test_start_page_is_there_without_heavy_libraries():
    lines = [*imports_of("app/main.py"), *imports_of("pages/start.py")]
    lines += ["import sys", f"print([name for name in {HEAVY} if name in sys.modules])"]
    done = subprocess.run([sys.executable, "-c", "\n".join(lines)], cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stdout.strip()) == (0, "[]"), done.stderr
