"""Which requests the server answers: those meant for it, from its own pages, outside frames."""

from collections.abc import Collection
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from starlette.websockets import WebSocketClose

HEADERS = {
    # Pictures come from here or stand in the page: text that slips into a page as HTML can't send anything away by one.
    "Content-Security-Policy": "frame-ancestors 'none'; object-src 'none'; base-uri 'self'; img-src 'self' data: blob:",
    "X-Frame-Options": "DENY",
    "X-Content-Type-Options": "nosniff",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "same-origin",
}
_POLICY_VIOLATION = 1008


class RequestGuard:
    """Refuses other machines' names (DNS rebinding) and other sites' pages, and forbids frames.

    Args:
        app: What answers the requests that are let through.
        hosts: Names that the server is called by, without ports; ``*.lab.example`` and ``*`` as patterns.
        origins: Other sites whose pages may use the server, as ``https://lab.example``.
    """

    def __init__(self, app: ASGIApp, *, hosts: Collection[str], origins: Collection[str] = ()) -> None:
        self._app = app
        self._hosts = tuple(host.strip().lower().rstrip(".") for host in hosts)
        self._origins = frozenset(origins)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Called by the server, once for each connection."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        reason = self.refusal(Headers(scope=scope))
        if not reason:
            await self._app(scope, receive, _with_headers(send))
        elif scope["type"] == "http":
            await PlainTextResponse(reason, status_code=403, headers=HEADERS)(scope, receive, send)
        else:
            await WebSocketClose(_POLICY_VIOLATION, reason[:100])(scope, receive, send)

    def refusal(self, headers: Headers) -> str:
        """Why a request with these headers is refused; empty if it is not."""
        hosts = headers.getlist("host")
        if len(hosts) != 1 or not self._knows(hosts[0]):
            return (
                f"This server is not called '{', '.join(hosts)[:200]}'. Open it by the address that it printed when it "
                "started, or start it with --server.allowedHosts=NAME.\n"
            )
        for origin in headers.getlist("origin"):
            if origin not in self._origins and urlsplit(origin).netloc != hosts[0]:
                return (
                    f"Pages of '{origin[:200]}' may not use this server. If they should, start it with "
                    "--server.corsAllowedOrigins=ORIGIN.\n"
                )
        return ""

    def _knows(self, host: str) -> bool:
        name = _host_name(host)
        return bool(name) and any(
            pattern in ("*", name) or (pattern.startswith("*.") and name.endswith(pattern[1:]))
            for pattern in self._hosts
        )


def _host_name(host: str) -> str:
    """The name in a Host header, lower case, without port and final dot; empty if the header holds anything else."""
    try:
        parts = urlsplit(f"//{host}")
        _ = parts.port  # a number in range, or a ValueError
    except ValueError:
        return ""
    return (parts.hostname or "").rstrip(".") if parts.netloc == host and "@" not in host else ""


def _with_headers(send: Send) -> Send:
    async def send_guarded(message: Message) -> None:
        if message["type"] == "http.response.start":
            MutableHeaders(scope=message).update(HEADERS)
        await send(message)

    return send_guarded
