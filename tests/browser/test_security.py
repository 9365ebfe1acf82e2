"""Who may use the server: this machine's own pages, and no frame, no other name, no other site."""

import http.client
import http.server
import socket
import threading
from collections.abc import Callable, Iterator

import pytest

pytestmark = pytest.mark.browser

TRY = """
async (address) => {
  const socket = await new Promise((done) => {
    const opened = new WebSocket(`${address.replace("http", "ws")}/_stcore/stream`, ["streamlit"]);
    opened.onopen = () => done("open");
    opened.onerror = () => done("refused");
  });
  const send = async (path, options) => {
    try {
      await fetch(address + path, options);
      return "answered";
    } catch {
      return "refused";
    }
  };
  const body = new FormData();
  body.append("file", new Blob(["picture"]), "photo.png");
  const picture = await new Promise((done) => {
    const image = new Image();
    image.onload = () => done("shown");
    image.onerror = () => done("refused");
    image.src = `${address}/favicon.png`;
  });
  return {
    socket,
    picture,
    read: await send("/_stcore/host-config"),
    upload: await send("/_stcore/upload_file/someone/photo", { method: "PUT", body }),
    post: await send("/_stcore/upload_file/someone/photo", { method: "POST", body, mode: "no-cors" }),
  };
}
"""


@pytest.fixture
def hostile_site() -> Iterator[Callable[[str], str]]:
    """``hostile_site(html)``: address of a page with that text, on another port of this machine."""
    pages: dict[str, bytes] = {}

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(pages.get(self.path, b""))

        def log_message(self, *_: object) -> None:
            return

    site = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=site.serve_forever, daemon=True).start()

    def publish(html: str) -> str:
        pages["/page"] = html.encode()
        return f"http://127.0.0.1:{site.server_port}/page"

    yield publish
    site.shutdown()
    site.server_close()


def ask(address: str, path: str = "/", method: str = "GET", **headers: str) -> tuple[int, http.client.HTTPMessage]:
    """Status and headers of an answer; ``headers`` replace what a browser would send."""
    connection = http.client.HTTPConnection(address.removeprefix("http://"), timeout=20)
    connection.request(method, path, headers={name.replace("_", "-"): value for name, value in headers.items()})
    answer = connection.getresponse()
    answer.read()
    connection.close()
    return answer.status, answer.headers


def opens(page: object) -> bool:
    """Whether the app draws itself."""
    page.get_by_role("heading", name="Find the objects").wait_for()
    return True


@pytest.mark.parametrize("name", ["127.0.0.1", "localhost"])
def test_this_machine_opens_it_by_every_name(server, open_tab, name):
    assert opens(open_tab(server.replace("127.0.0.1", name)))


def test_opens_by_ip_version_6(tmp_path, serve, port, open_tab):
    with socket.socket(socket.AF_INET6) as probe:
        try:
            probe.bind(("::1", 0))
        except OSError:
            pytest.skip("no IPv6 on this machine")
    with serve(tmp_path, port, options=["--server.address=::1"], host="[::1]") as address:
        assert opens(open_tab(address))


def test_rebinding_host_gets_no_page(server, open_tab):
    page = open_tab(server.replace("127.0.0.1", "evil.test"))
    assert "evil.test" in page.locator("body").inner_text()
    assert page.locator("#root").count() == 0
    assert page.evaluate(TRY, server.replace("127.0.0.1", "evil.test"))["socket"] == "refused"


@pytest.mark.parametrize(
    "path", ["/", "/clusters", "/_stcore/health", "/_stcore/host-config", "/media/x.png", "/static/js/index.js"]
)
@pytest.mark.parametrize(
    "host", ["evil.test", "localhost.evil.test", "127.0.0.1.evil.test", "user@localhost", "localhost/..", "", "[::2]"]
)
def test_other_hosts_are_refused_everywhere(server, path, host):
    assert ask(server, path, Host=host)[0] in (400, 403)


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:1", "127.0.0.1:80", "[::1]:8501", "localhost."])
def test_own_names_are_known_whatever_the_port(server, host):
    assert ask(server, "/_stcore/health", Host=host)[0] == 200


@pytest.mark.parametrize(
    "origin", ["http://127.0.0.1:9999", "http://localhost:1", "null", "https://evil.test", "http://127.0.0.1"]
)
@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", "/_stcore/stream"), ("PUT", "/_stcore/upload_file/a/b"), ("POST", "/_stcore/agent/mcp")],
)
def test_other_origins_are_refused(server, method, path, origin):
    upgrade = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec_WebSocket_Version": "13"}
    key = {"Sec_WebSocket_Key": "x3JJHMbDL1EzLkh9GBhXDw=="}
    assert ask(server, path, method, Origin=origin, **(upgrade | key if "stream" in path else {}))[0] == 403


def test_another_port_of_this_machine_cannot_use_it(server, open_tab, hostile_site):
    page = open_tab(hostile_site("<p>hello</p>"))
    assert set(page.evaluate(TRY, server).values()) == {"refused"}


def test_same_tries_succeed_from_its_own_page(server, open_tab):
    """What the refusals above are measured against."""
    found = open_tab(server).evaluate(TRY, server)
    assert (found["socket"], found["picture"], found["read"]) == ("open", "shown", "answered")


@pytest.mark.parametrize("tag", ["iframe", "embed", "object"])
def test_cannot_be_framed(server, open_tab, hostile_site, tag):
    source = "data" if tag == "object" else "src"
    page = open_tab(hostile_site(f"<{tag} {source}='{server}/?embed=true' width='800' height='600'></{tag}>"))
    page.wait_for_load_state("networkidle")
    inner = [frame for frame in page.frames if frame is not page.main_frame]
    assert all(frame.locator("#root").count() == 0 for frame in inner)
    assert all(not frame.url.startswith(server) for frame in inner)


@pytest.mark.parametrize("path", ["/", "/audit", "/nowhere", "/index.html", "/_stcore/health", "/media/none.png"])
def test_every_answer_forbids_frames(server, path):
    headers = ask(server, path)[1]
    assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]
    assert headers["X-Frame-Options"] == "DENY"
    assert headers["X-Content-Type-Options"] == "nosniff"


def test_refusals_forbid_frames_and_name_the_remedy(server):
    status, headers = ask(server, Host="evil.test")
    assert (status, headers["X-Frame-Options"], headers["Content-Type"].split(";")[0]) == (403, "DENY", "text/plain")


@pytest.fixture
def elsewhere(tmp_path):
    """A folder whose settings are those of somebody careless."""
    folder = tmp_path / "elsewhere"
    (folder / ".streamlit").mkdir(parents=True)
    (folder / ".streamlit" / "config.toml").write_text(
        '[server]\naddress = "0.0.0.0"\nmaxUploadSize = 9000\nenableCORS = false\nenableXsrfProtection = false\n'
        '[browser]\ngatherUsageStats = true\n[theme]\nbase = "dark"\n'
    )
    return folder


def listening(port: int) -> set[str]:
    """Addresses at which somebody listens at ``port``."""
    import psutil

    return {
        item.laddr.ip for item in psutil.net_connections("tcp") if item.laddr.port == port and item.status == "LISTEN"
    }


@pytest.mark.parametrize(
    "command",
    [None, ("maskdistill", "app", "--")],
    ids=["streamlit run", "maskdistill app"],
)
def test_same_settings_wherever_it_is_started(tmp_path, elsewhere, serve, port, open_tab, command):
    chosen = {} if command is None else {"command": command}
    with serve(tmp_path, port, cwd=elsewhere, **chosen) as address:
        assert listening(port) == {"127.0.0.1"}
        assert ask(address, Host="evil.test")[0] == 403
        assert "Access-Control-Allow-Origin" not in ask(address, "/_stcore/host-config")[1]
        page = open_tab(address)
        assert opens(page)
        primary = page.get_by_test_id("stBaseButton-primary").first
        assert primary.evaluate("node => getComputedStyle(node).backgroundColor") == "rgb(10, 112, 137)"
        asked = page.evaluate("performance.getEntriesByType('resource').map((entry) => entry.name)")
        assert [url for url in asked if not url.startswith((address, "data:", "blob:"))] == []


def test_names_and_origins_can_be_added(tmp_path, serve, port, open_tab):
    options = ["--server.allowedHosts=evil.test", "--server.corsAllowedOrigins=http://127.0.0.1:9999"]
    with serve(tmp_path, port, options=options) as address:
        assert opens(open_tab(address.replace("127.0.0.1", "evil.test")))
        assert opens(open_tab(address))
        assert ask(address, "/_stcore/health", Origin="http://127.0.0.1:9999")[0] == 200
        assert ask(address, "/_stcore/health", Origin="http://127.0.0.1:9998")[0] == 403
