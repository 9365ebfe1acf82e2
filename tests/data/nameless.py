"""A user as containers have them: a number without a name, no home, and an installation that cannot be written.

In a namespace of mounts of its own, so that an interpreter below a closed home can be reached, and the checkout is
read-only for everybody.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
USER = 4242
_SCRIPT = """
set -e
user=$1 closed=$2 python=$3 root=$4; shift 4
if [ -n "$closed" ]; then
    mkdir -p /run/nameless && mount -t tmpfs tmpfs /run/nameless && mkdir /run/nameless/python
    mount --bind "$python" /run/nameless/python
    mount -t tmpfs -o mode=755 tmpfs "$closed"
    mkdir -p "$python" && mount --bind /run/nameless/python "$python"
fi
mount --bind "$root" "$root" && mount -o remount,bind,ro "$root"
cd /
exec setpriv --reuid "$user" --regid "$user" --clear-groups env -i "$@"
"""


def nameless(arguments: Sequence[str | Path], environment: Mapping[str, str | Path]) -> list[str]:
    """The command that runs ``python arguments`` as that user, with no environment but this."""
    variables = {"PATH": "/usr/bin:/bin", "PYTHONPATH": f"{ROOT}:{ROOT / 'tests/data'}", **environment}
    settings = [f"{name}={value}" for name, value in variables.items()]
    python = Path(sys.base_prefix)
    closed = next((path for path in reversed(python.parents) if not path.stat().st_mode & 0o001), "")
    script = ["sh", "-c", _SCRIPT, "nameless", str(USER), str(closed), str(python), str(ROOT)]
    return ["unshare", "--mount", *script, *settings, sys.executable, *map(str, arguments)]


def can_be_nameless() -> bool:
    """Whether this machine lets us become that user."""
    if os.name == "nt" or os.getuid() or not shutil.which("unshare") or not shutil.which("setpriv"):
        return False
    return not subprocess.run(nameless(["-c", ""], {}), capture_output=True, check=False).returncode
