"""The README's programs run, as a reader would run them."""

import os
import re
import select
import signal
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
PROGRAMS = dict(re.findall(r"```python\n(?=# (\w+\.py)\n)(.*?)```", README, re.DOTALL))


def _write(folder: Path, port: int) -> None:
    for name, text in PROGRAMS.items():
        assert "1234" in text, f"{name} names no port any more: change this test"
        (folder / name).write_text(text.replace("1234", str(port)), encoding="utf-8")


@pytest.mark.timeout(60)
def test_the_readme_s_server_and_clients_run(tmp_path: Path, unused_tcp_port: int) -> None:
    assert set(PROGRAMS) == {"server.py", "client.py", "typist.py"}
    _write(tmp_path, unused_tcp_port)
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src"), "PYTHONUNBUFFERED": "1"}
    server = subprocess.Popen(
        [sys.executable, "server.py"], cwd=tmp_path, env=environment,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        assert server.stdout is not None
        assert "listening on" in server.stdout.readline()
        client = subprocess.run(
            [sys.executable, "client.py"], cwd=tmp_path, env=environment,
            capture_output=True, text=True, timeout=30, check=False,
        )  # fmt: skip
        assert client.returncode == 0, client.stderr
        assert "ann was hit: 3" in client.stdout
        assert "bob was hit: 3" in client.stdout
        typists = [
            subprocess.Popen(
                [sys.executable, "typist.py"], cwd=tmp_path, env=environment,
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            )
            for _ in range(2)
        ]  # fmt: skip
        writer, reader = typists[0].stdin, typists[1].stdout
        assert writer is not None
        assert reader is not None
        for _ in range(100):  # what is typed before the room is there goes to the server
            writer.write("hello\n")
            writer.flush()
            if select.select([reader], [], [], 0.2)[0]:
                break
        assert reader.readline().endswith(": hello\n")
        for typist in typists:  # the end of their input ends them
            _, errors = typist.communicate(timeout=30)
            assert typist.returncode == 0, errors
        _, _ = server.communicate("close\n", timeout=15)
        assert server.returncode == 0
    finally:
        if server.poll() is None:
            server.send_signal(signal.SIGKILL)
            server.communicate()


def test_the_room_in_the_readme_has_at_most_30_lines() -> None:
    lines = [line for line in PROGRAMS["server.py"].splitlines() if line.strip() and not line.startswith("#")]
    assert len(lines) <= 30


def test_the_readme_names_files_that_exist() -> None:
    links = re.findall(r"\]\(([\w./-]+)\)", README)
    assert links
    assert all((ROOT / link).exists() for link in links), links
