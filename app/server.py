"""The web server around the pages: whom it answers, where it listens, what it says when it starts."""

import asyncio
import os
import socket
import sys
import tomllib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.util import find_spec
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import psutil
import streamlit as st
from starlette.middleware import Middleware
from streamlit import config, net_util

from app.request_guard import RequestGuard
from maskdistill.datasets.remote import ALLOW_VARIABLE
from maskdistill.machine import give_back_memory

_TIDY_EVERY, _GROWN = 20.0, 1.02  # seconds, and by how much the server must have grown
_EVERYWHERE = ("", "0.0.0.0", "::")  # addresses that mean: all of this machine's


def guard() -> list[Middleware]:
    """What stands before Streamlit's own routes, by the options in force.

    Raises:
        SystemExit: If a login is wanted, but cannot be asked for: nobody may come in without it.
    """
    _check_login()
    os.environ.setdefault(ALLOW_VARIABLE, "off")  # for jobs too: whoever may send a link must not choose what is asked
    hosts = sorted({*own_hosts(_address()), *config.get_option("server.allowedHosts")})
    config.set_option("server.allowedHosts", hosts)  # Streamlit looks at them again for what has no page
    net_util.get_external_ip = net_util.get_internal_ip = _no_address  # Streamlit would ask a service on the internet
    return [Middleware(RequestGuard, hosts=hosts, origins=config.get_option("server.corsAllowedOrigins"))]


def own_hosts(address: str) -> frozenset[str]:
    """What this machine may be called by a browser, if the server listens at ``address``; nobody is asked."""
    names = {"localhost", "127.0.0.1", "::1", socket.gethostname().lower()}
    if address not in _EVERYWHERE:
        return frozenset({*names, address.lower()})
    found = [item.address for items in psutil.net_if_addrs().values() for item in items]
    return frozenset({*names, *(item.partition("%")[0] for item in found if _is_ip(item))})


def is_for_this_machine_only(address: str) -> bool:
    """Whether nobody else's browser reaches a server that listens at ``address``."""
    return address == "localhost" or (_is_ip(address) and ip_address(address.partition("%")[0]).is_loopback)


@asynccontextmanager
async def started(_app: st.App) -> AsyncIterator[dict[str, Any]]:
    """Around the server's life: says where it listens, and keeps it small."""
    address = _address()
    shown = "localhost" if address in _EVERYWHERE else f"[{address}]" if ":" in address else address
    scheme = "https" if config.get_option("server.sslCertFile") else "http"
    path = config.get_option("server.baseUrlPath").strip("/")
    sys.stdout.write(f"MaskDistill: {scheme}://{shown}:{config.get_option('server.port')}/{path}\n")
    if not is_for_this_machine_only(address):
        sys.stdout.write(
            "Other machines reach it too. Whoever does can read what this account may, and start jobs: see "
            "docs/shared-server.md.\n"
        )
    sys.stdout.flush()
    tidying = asyncio.create_task(_tidy())
    yield {}
    tidying.cancel()


async def _tidy() -> None:
    """Give back the memory that pages freed, if the server has grown: each leaves some that the next cannot use."""
    process, before = psutil.Process(), 0.0
    while True:
        await asyncio.sleep(_TIDY_EVERY)
        if process.memory_info().rss > _GROWN * before:
            await asyncio.to_thread(give_back_memory)
            before = process.memory_info().rss


def _check_login() -> None:
    for path in map(Path, config.get_option("secrets.files")):
        try:
            secrets = tomllib.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
        except (OSError, ValueError) as error:
            sys.exit(f"maskdistill: {path} cannot be read ({error}), so it is not known whether a login is wanted.")
        if "auth" in secrets and find_spec("authlib") is None:
            sys.exit(f"maskdistill: {path} wants a login, which needs Authlib: pip install maskdistill[auth]")


def _no_address() -> None:
    return None


def _address() -> str:
    return config.get_option("server.address") or ""


def _is_ip(text: str) -> bool:
    try:
        ip_address(text.partition("%")[0])
    except ValueError:
        return False
    return True
