"""What our own conftest promises: a test that leaves something behind fails, and says what."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

LEAKS = {
    "thread": """
        stop = threading.Event()
        threading.Thread(target=stop.wait, name="forgotten", daemon=True).start()
        """,
    "process": """
        subprocess.Popen(["sleep", "5"])
        """,
    "descriptor": """
        os.dup(0)
        """,
    "temporary file": """
        tempfile.mkstemp(prefix="forgotten")
        """,
    "task": """
        async def main():
            asyncio.get_running_loop().create_task(asyncio.sleep(60), name="forgotten")
            await asyncio.sleep(0)
        asyncio.run(main())
        """,
    "error on an event loop": """
        async def main():
            asyncio.get_running_loop().call_soon(lambda: 1 / 0)
            await asyncio.sleep(0.01)
        asyncio.run(main())
        """,
    "ResourceWarning": """
        socket.socket()
        """,
}
PROGRAM = """
import asyncio, os, socket, subprocess, tempfile, threading

def test_leaks():
{body}

def test_does_not_leak():
    with tempfile.TemporaryDirectory(), socket.socket():
        thread = threading.Thread(target=lambda: None)
        thread.start()
        thread.join()
        subprocess.run(["true"])
    asyncio.run(asyncio.sleep(0))
"""


@pytest.mark.parametrize("what", LEAKS)
def test_a_leak_fails_its_test_and_no_other(what: str, tmp_path: Path) -> None:
    conftest = (ROOT / "tests" / "conftest.py").read_text(encoding="utf-8")
    (tmp_path / "conftest.py").write_text(conftest.replace("WINDING_DOWN = 2.0", "WINDING_DOWN = 0.1"))
    (tmp_path / "pytest.ini").write_text(
        "[pytest]\nasyncio_default_fixture_loop_scope = function\nfilterwarnings = error\n", encoding="utf-8"
    )
    (tmp_path / "test_it.py").write_text(PROGRAM.format(body=LEAKS[what].replace("\n        ", "\n    ")))
    result = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", str(tmp_path)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
        env={**os.environ, "PYTEST_DEBUG_TEMPROOT": str(tmp_path)},
    )
    assert result.returncode == 1, result.stdout
    assert f"  {what}: " in result.stdout or what == "ResourceWarning" in result.stdout
    named = re.findall(r"^(?:ERROR|FAILED) test_it\.py::(\w+)", result.stdout, re.MULTILINE)
    assert set(named) == {"test_leaks"}


def test_every_test_has_a_time_limit(request: pytest.FixtureRequest) -> None:
    assert all(item.get_closest_marker("timeout") for item in request.session.items)
