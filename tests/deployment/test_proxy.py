"""The proxy of `compose.tls.yaml`: a real nginx under the settings that are shipped, before a server of the tests."""

import base64
import http.client
import os
import shutil
import ssl
import subprocess
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest

from tests.support import PROJECT, find_free_port, serve
from tests.support.areas import describe_missing
from tests.support.waiting import is_answering, wait_until

NGINX = shutil.which("nginx", path=f"{os.environ['PATH']}{os.pathsep}/usr/sbin")
pytestmark = pytest.mark.skipif(NGINX is None or shutil.which("openssl") is None, reason=describe_missing("proxy"))

PROXY = PROJECT / "packaging" / "containers" / "proxy"
USER, PASSWORD = "ada", "correct horse"
LOGGED_IN = {"Authorization": "Basic " + base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()}


class Behind(BaseHTTPRequestHandler):
    """Tells the headers that reach it."""

    def do_GET(self) -> None:
        said = str(self.headers).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(said)))
        self.end_headers()
        self.wfile.write(said)

    do_POST = do_GET


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate and a user, made by the commands of the page on deployment."""
    made = tmp_path_factory.mktemp("proxy")
    page = (PROJECT / "docs" / "deployment.md").read_text()
    commands = page.partition("### TLS and a log-in\n")[2].partition("```bash\n")[2].partition("```")[0]
    assert "openssl req" in commands
    changed = {
        "openssl passwd -6": f"echo '{PASSWORD}' | openssl passwd -6 -stdin",
        "/srv/readiness/secrets": str(made),
        "chown": "true",
    }
    wanted = [line for line in commands.replace("\\\n", "").splitlines() if not line.startswith("podman build")]
    script = "\n".join(wanted)
    for theirs, ours in changed.items():
        script = script.replace(theirs, ours)
    subprocess.run(["bash", "-euc", script], check=True, capture_output=True)
    return made


@pytest.fixture(scope="module")
def behind() -> Iterator[str]:
    with serve(Behind) as address:
        yield address


@pytest.fixture(scope="module")
def port(folder: Path, behind: str) -> Iterator[int]:
    """Where nginx listens, before a server that tells what reaches it."""
    ours = find_free_port()
    changed = {
        "/tmp/": f"{folder}/",
        "/run/tls": str(folder / "tls"),
        "listen 8443": f"listen 127.0.0.1:{ours}",
        "http://webserver:3000": behind,
        "/dev/stdout": str(folder / "access.log"),
        "http {": f"lock_file {folder}/lock;\nhttp {{",
    }
    text = (PROXY / "nginx.conf").read_text()
    for theirs, mine in changed.items():
        assert theirs in text, theirs
        text = text.replace(theirs, mine)
    if os.geteuid() == 0:
        text = f"user root;\n{text}"  # the folder is root's
    (folder / "nginx.conf").write_text(text)
    (folder / "resolver.conf").write_text("resolver 127.0.0.1;\n")
    command = [str(NGINX), "-c", str(folder / "nginx.conf"), "-e", str(folder / "error.log")]
    checked = subprocess.run([*command, "-t"], capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stderr
    assert "[warn]" not in checked.stderr
    with (folder / "said.txt").open("wb") as said:
        server = subprocess.Popen(command, stdout=said, stderr=said)
    try:
        wait_until(lambda: is_answering(ours), of=server, said=folder / "said.txt")
        yield ours
    finally:
        server.terminate()
        server.wait()


def ask(folder: Path, port: int, path: str = "/", method: str = "GET", **headers: str) -> tuple[int, str, str | None]:
    """Status, text, and how long a browser keeps to TLS; the certificate must be the one that was made."""
    context = ssl.create_default_context(cafile=str(folder / "tls" / "certificate.pem"))
    context.check_hostname = False
    connection = http.client.HTTPSConnection("127.0.0.1", port, context=context, timeout=60)
    connection.request(method, path, headers=LOGGED_IN | {k.replace("_", "-"): v for k, v in headers.items()})
    answer = connection.getresponse()
    said = answer.read().decode()
    connection.close()
    return answer.status, said, answer.getheader("Strict-Transport-Security")


def test_nobody_gets_in_without_the_password_which_goes_no_further(folder: Path, port: int) -> None:
    """Nor in clear text. A page of another site starts no run, though the browser would send the password along."""
    for wrong in ("", "Basic " + base64.b64encode(b"ada:wrong").decode()):
        status, _, kept_to = ask(folder, port, Authorization=wrong)
        assert (status, kept_to) == (401, "max-age=31536000")
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request("GET", "/", headers=LOGGED_IN)
    assert connection.getresponse().status == 400
    status, said, _ = ask(folder, port, Upgrade="websocket", Connection="Upgrade")
    assert status == 200
    assert "Authorization" not in said
    assert "Upgrade: websocket" in said
    assert "Connection: upgrade" in said
    for site, wanted in (("cross-site", 403), ("same-site", 403), ("same-origin", 200)):
        assert ask(folder, port, "/graphql", "POST", Sec_Fetch_Site=site)[0] == wanted
    assert ask(folder, port, "/runs", Sec_Fetch_Site="cross-site")[0] == 200  # a link in a mail


def test_names_are_looked_up_where_the_container_does(tmp_path: Path) -> None:
    """By the start script, whichever engine's name server that is."""
    text = (PROXY / "start.sh").read_text().replace("/tmp/", f"{tmp_path}/").replace("exec nginx", "exec true")
    for server, wanted in (("10.89.0.1", "10.89.0.1"), ("fd00::1", "[fd00::1]")):
        (tmp_path / "resolv.conf").write_text(f"search dns.podman\nnameserver {server}\nnameserver 9.9.9.9\n")
        script = text.replace("/etc/resolv.conf", str(tmp_path / "resolv.conf"))
        subprocess.run(["sh", "-c", script], check=True)
        assert (tmp_path / "resolver.conf").read_text() == f"resolver {wanted} valid=10s;\n"
