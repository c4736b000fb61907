"""An S3-compatible server on loopback, in a process of its own: it logs requests, and holds one if asked."""

from __future__ import annotations

import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

import pytest

PATIENCE_S = 60.0
SERVER = """
import sys, time
from pathlib import Path
from moto.server import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import WSGIRequestHandler, make_server

state = Path(sys.argv[1])
moto = DomainDispatcherApplication(create_backend_app)

def application(environ, start_response):
    line = environ["REQUEST_METHOD"] + " " + environ["PATH_INFO"]
    with (state / "log").open("a") as log:
        log.write(line + "\\n")
    if (state / "hold").exists() and line == (state / "hold").read_text():
        (state / "held").touch()
        while (state / "hold").exists():
            time.sleep(0.01)
    return moto(environ, start_response)

class Quiet(WSGIRequestHandler):
    protocol_version = "HTTP/1.1"
    def log(self, *args): pass

server = make_server("127.0.0.1", 0, application, threaded=True, request_handler=Quiet)
print(server.port, flush=True)
server.serve_forever()
"""
CREDENTIALS = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}
SIGNED = {"Authorization": "AWS4-HMAC-SHA256 Credential=test/20260101/us-east-1/s3/aws4_request"}
"""All that the server looks at."""


@dataclass(frozen=True)
class Store:
    """The server, as a test sees it."""

    address: str
    state: Path

    @property
    def environment(self) -> dict[str, str]:
        """Nothing of the machine's own configuration, and never the network's metadata service."""
        return {
            **CREDENTIALS,
            "AWS_ENDPOINT_URL": self.address,
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        }

    def request(self, method: str, path: str, data: bytes | None = None) -> bytes:
        headers = {**SIGNED, "Content-Type": "application/octet-stream"}
        request = urllib.request.Request(f"{self.address}/{path}", data, headers, method=method)
        with urllib.request.urlopen(request, timeout=PATIENCE_S) as answer:
            return bytes(answer.read())

    def put(self, path: str, data: bytes = b"") -> None:
        """An object; its bucket is made if need be."""
        self.request("PUT", path.partition("/")[0], b"")
        self.request("PUT", path, data)

    def get(self, path: str) -> bytes:
        return self.request("GET", path)

    def names(self, bucket: str) -> set[str]:
        listed = ElementTree.fromstring(self.request("GET", f"{bucket}?list-type=2"))
        return {str(key.text) for key in listed.iter() if key.tag.endswith("}Key")}

    def log(self) -> list[str]:
        """Method and path of all requests so far."""
        path = self.state / "log"
        return path.read_text().splitlines() if path.exists() else []

    def hold(self, line: str) -> None:
        """Let such a request wait."""
        (self.state / "held").unlink(missing_ok=True)
        (self.state / "hold").write_text(line)

    def wait_until_held(self, process: subprocess.Popen[str]) -> None:
        end = time.monotonic() + PATIENCE_S
        while not (self.state / "held").exists():
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < end, "the request never came"
            time.sleep(0.01)

    def let_go(self) -> None:
        (self.state / "hold").unlink()


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    pytest.importorskip("moto", reason="needs moto[server]")
    pytest.importorskip("s3fs")
    state = tmp_path_factory.mktemp("server")
    with subprocess.Popen(
        [sys.executable, "-c", SERVER, str(state)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        assert process.stdout
        port = process.stdout.readline().strip()
        assert port, "the server did not start"
        yield Store(f"http://127.0.0.1:{port}", state)
        process.kill()


@pytest.fixture
def store(server: Store, monkeypatch: pytest.MonkeyPatch) -> Store:
    """The server, and an environment in which the library finds it."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    for name, value in server.environment.items():
        monkeypatch.setenv(name, value)
    return server
