"""docs/security.md: its commands and programs run, as a reader would run them, and what it says of bounds is so."""

import functools
import json
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from jwt.algorithms import RSAAlgorithm

from server_room_system import BrokerLimits
from server_room_system.broker.auth import LONGEST_AUTH

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "docs" / "security.md").read_text(encoding="utf-8")
PROGRAMS: dict[str, str] = dict(re.findall(r"```python\n(?=# (\w+\.py)\n)(.*?)```", TEXT, re.DOTALL))
COMMANDS: list[str] = re.findall(r"```sh\n(.*?)```", TEXT, re.DOTALL)
PLAIN_APP = """\
from server_room_system import Room, Server

class Hall(Room):
    max_clients = 8

server = Server(rooms={"hall": Hall})
"""


class Desk:
    """A folder with the programs of the document in it, and ``srs`` to run."""

    def __init__(self, folder: Path, port: int) -> None:
        self.folder = folder
        self.port = port
        (folder / "bin").mkdir()
        srs = folder / "bin" / "srs"
        srs.write_text(f'#!/bin/sh\nexec "{sys.executable}" -P -m server_room_system.cli "$@"\n')
        srs.chmod(0o755)
        self.environment = {
            **os.environ,
            "PATH": f"{folder / 'bin'}:{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT / "src"),
            "PYTHONUNBUFFERED": "1",
            "PYTHONWARNINGS": "error",
            "XDG_RUNTIME_DIR": str(folder),
        }

    def write(self, name: str, *changes: tuple[str, str]) -> None:
        """A program of the document, with the port of this test and what a reader fills in."""
        text = PROGRAMS[name]
        for old, new in (("1234", str(self.port)), *changes):
            assert old in text or old == "1234", f"{name} does not say {old!r} any more: change this test"
            text = text.replace(old, new)
        (self.folder / name).write_text(text)

    def run(self, *command: str) -> str:
        """What a command prints, if it succeeds."""
        done = subprocess.run(
            command, cwd=self.folder, env=self.environment, capture_output=True, text=True, timeout=60, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    @contextmanager
    def serving(self, *command: str) -> Iterator[None]:
        server = subprocess.Popen(
            command, cwd=self.folder, env=self.environment,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip
        try:
            assert server.stdout is not None
            line = server.stdout.readline()
            assert "listening on" in line, line
            yield
            _, _ = server.communicate("close\n", timeout=15)
            assert server.returncode == 0
        finally:
            if server.poll() is None:
                server.kill()
                server.communicate()


@pytest.fixture
def desk(tmp_path: Path, unused_tcp_port: int) -> Desk:
    return Desk(tmp_path, unused_tcp_port)


@pytest.mark.timeout(90)
def test_keys(desk: Desk) -> None:
    make, serve = COMMANDS[:2]
    desk.run("sh", "-ec", make)
    (desk.folder / "app.py").write_text(PLAIN_APP)
    key = desk.run("srs", "keys", "show", "server.pub").strip()
    desk.write("with_keys.py", ("the 40 characters of 'srs keys show server.pub'", key))
    with desk.serving(*serve.split(), "--port", str(desk.port)):
        assert desk.run(sys.executable, "with_keys.py") == "in hall\n"


@pytest.mark.timeout(90)
def test_on_auth(desk: Desk) -> None:
    desk.write("app.py")
    desk.write("with_credentials.py")
    with desk.serving(sys.executable, "app.py"):
        told = desk.run(sys.executable, "with_credentials.py").splitlines()
    assert told == ["{'name': 'ada', 'from': '127.0.0.1'}", "refused: unknown token"]


@contextmanager
def publishing(folder: Path) -> Iterator[str]:
    """An issuer that publishes what is in a folder; its address."""

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # http.server's word
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.mark.timeout(90)
def test_json_web_tokens(desk: Desk) -> None:
    private = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    published = desk.folder / "published"
    published.mkdir()
    public = {**RSAAlgorithm.to_jwk(private.public_key(), as_dict=True), "kid": "one"}
    (published / "jwks.json").write_text(json.dumps({"keys": [public]}))
    claims = {"sub": "ada", "aud": "my-game", "iss": "https://login.example.com/", "exp": time.time() + 60}
    (desk.folder / "token.txt").write_text(jwt.encode(claims, private, "RS256", headers={"kid": "one"}))
    with publishing(published) as issuer:
        desk.write("jwt_app.py", ("https://login.example.com/.well-known/jwks.json", f"{issuer}/jwks.json"))
        desk.write("with_jwt.py")
        with desk.serving("srs", "serve", "jwt_app.py:server", "--port", str(desk.port)):
            assert desk.run(sys.executable, "with_jwt.py") == "ada\n"


@pytest.mark.timeout(90)
def test_passwords(desk: Desk) -> None:
    desk.run("sh", "-ec", COMMANDS[2])
    desk.write("password_app.py")
    desk.write("with_password.py")
    with desk.serving("srs", "serve", "password_app.py:server", "--port", str(desk.port)):
        assert desk.run(sys.executable, "with_password.py") == "ada\n"


def test_every_program_and_command_is_run() -> None:
    source = Path(__file__).read_text(encoding="utf-8")
    assert all(f'"{name}"' in source for name in PROGRAMS)
    assert len(COMMANDS) == 3


def test_the_bounds_are_those_of_the_code() -> None:
    limits = BrokerLimits()
    assert f"`BrokerLimits.auth_timeout` ({limits.auth_timeout:.0f} seconds)" in TEXT
    assert (
        f"`auth_waiting` clients ({limits.auth_waiting:,}) wait for it, {limits.auth_waiting_of_an_address} of" in TEXT
    )
    assert f"({LONGEST_AUTH // 1024} KiB at most)" in TEXT
    assert f"`session_grace` ({limits.session_grace:.0f} seconds away)" in TEXT


def test_links_lead_somewhere() -> None:
    headings = {
        re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
        for heading in re.findall(r"^#+ (.*)$", TEXT, re.MULTILINE)
    }
    for link in re.findall(r"\]\(([^)]+)\)", TEXT):
        if link.startswith("#"):
            assert link[1:] in headings, link
        else:
            assert (ROOT / "docs" / link).exists(), link
