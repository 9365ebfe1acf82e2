"""A login service on this machine: OpenID Connect, just as much of it as a login needs, with a key of its own."""

import base64
import json
import secrets
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlencode, urlsplit

from joserfc import jwt
from joserfc.jwk import RSAKey

CLIENT, SECRET = "maskdistill", "not so secret"


@dataclass
class LoginService:
    """What it says of whoever comes next; every login succeeds at once."""

    claims: dict[str, object] = field(default_factory=lambda: {"email": "ada@lab.example", "email_verified": True})
    address: str = ""
    key: RSAKey = field(default_factory=lambda: RSAKey.generate_key(2048, {"kid": "only"}))
    granted: dict[str, dict[str, str]] = field(default_factory=dict)  # code -> the request

    def secrets_toml(self, app: str) -> str:
        """What the server's secrets.toml holds to use it; ``app`` is the address of the server."""
        return (
            f'[auth]\nredirect_uri = "{app}/oauth2callback"\ncookie_secret = "{secrets.token_hex(32)}"\n'
            f'client_id = "{CLIENT}"\nclient_secret = "{SECRET}"\n'
            f'server_metadata_url = "{self.address}/.well-known/openid-configuration"\n'
        )

    def answer(self, path: str, asked: dict[str, str]) -> tuple[dict[str, object], str]:
        """JSON to answer with, and where to send the browser instead, if anywhere."""
        if path == "/.well-known/openid-configuration":
            return self._metadata(), ""
        if path == "/jwks":
            return {"keys": [self.key.as_dict(private=False)]}, ""
        if path == "/authorize":
            code = secrets.token_urlsafe()
            self.granted[code] = asked
            return {}, f"{asked['redirect_uri']}?{urlencode({'code': code, 'state': asked['state']})}"
        if path == "/token":
            return self._token(self.granted.pop(asked["code"])), ""
        return {"sub": "1", **self.claims}, ""

    def _metadata(self) -> dict[str, object]:
        places = {"authorization": "authorize", "token": "token", "userinfo": "userinfo"}
        return {
            "issuer": self.address,
            "jwks_uri": f"{self.address}/jwks",
            "id_token_signing_alg_values_supported": ["RS256"],
            **{f"{name}_endpoint": f"{self.address}/{path}" for name, path in places.items()},
        }

    def _token(self, request: dict[str, str]) -> dict[str, object]:
        now = int(time.time())
        times = {"iat": now, "exp": now + 600, "nonce": request["nonce"]}
        claims = {"iss": self.address, "aud": CLIENT, "sub": "1", **times, **self.claims}
        token = jwt.encode({"alg": "RS256", "kid": "only"}, claims, self.key)
        return {"access_token": "a", "token_type": "Bearer", "expires_in": 600, "id_token": token}


@contextmanager
def login_service() -> Iterator[LoginService]:
    """One that answers on a free port of this machine."""
    service = LoginService()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            self._reply(parts.path, parts.query)

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"])).decode()
            assert base64.b64decode(self.headers["Authorization"].split()[1]).decode().split(":")[0] == CLIENT
            self._reply(self.path, body)

        def _reply(self, path: str, query: str) -> None:
            content, place = service.answer(path, {name: values[0] for name, values in parse_qs(query).items()})
            self.send_response(302 if place else 200)
            if place:
                self.send_header("Location", place)
            self.send_header("Content-Type", "application/json")
            self.end_headers()
            self.wfile.write(json.dumps(content).encode())

        def log_message(self, *_: object) -> None:
            return

    site = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    service.address = f"http://127.0.0.1:{site.server_port}"
    threading.Thread(target=site.serve_forever, daemon=True).start()
    yield service
    site.shutdown()
    site.server_close()
