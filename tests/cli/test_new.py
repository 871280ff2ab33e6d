"""``srs new``: the project that it writes runs as it is."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from server_room_system.cli.exits import Exit
from server_room_system.cli.project import FILES

from .conftest import Result
from .programs import SRS, Program, environment, srs

Command = Callable[..., Result]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    folder = tmp_path / "my game"
    done = srs("new", str(folder))
    assert (done.returncode, done.stderr) == (Exit.OK, "")
    assert f"cd '{folder}'" in done.stdout
    return folder


def test_it_writes_all_files_under_the_project_s_name(project: Path) -> None:
    assert {path.name for path in project.iterdir()} == set(FILES)
    assert (project / "README.md").read_text(encoding="utf-8").startswith("# my game\n")
    assert not any("%" in path.read_text(encoding="utf-8") for path in project.iterdir())


@pytest.mark.parametrize("runner", [["server.py", "0"], [*SRS, "serve", "server:server", "--port", "0"]])
def test_its_server_and_clients_run(project: Path, runner: list[str]) -> None:
    with Program(runner, cwd=project) as server:
        port = server.expect(r"listening on tcp://127.0.0.1:(\d+)")[1]
        with (
            Program(["client.py", "ann", port], cwd=project) as ann,
            Program(["client.py", "ben", port], cwd=project) as ben,
        ):
            for client in (ann, ben):
                assert client.wait() == 0, client.output
                assert client.output.splitlines()[-1].endswith("the room says 2")
        server.write("close")
        assert server.wait() == 0
        assert "Traceback" not in server.output


def test_its_clients_errors_are_one_line(project: Path, unused_tcp_port: int) -> None:
    for arguments, says in (([], "usage: "), (["ann", str(unused_tcp_port)], "error: no broker answered")):
        done = subprocess.run(
            [sys.executable, "client.py", *arguments], cwd=project,
            env=environment(), capture_output=True, text=True, timeout=30, check=False,
        )  # fmt: skip
        assert done.returncode == 1
        assert done.stderr.startswith(says)
        assert done.stderr.count("\n") == 1


def test_its_test_passes(project: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", str(project)],
        cwd=project, env=environment(), capture_output=True, text=True, timeout=50, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 passed" in done.stdout


def test_a_folder_that_is_not_empty_is_left_alone(command: Command, tmp_path: Path) -> None:
    (tmp_path / "server.py").write_text("mine", encoding="utf-8")
    code, out, err = command("new", str(tmp_path))
    assert (code, out) == (Exit.USAGE, "")
    assert err == f"error: {tmp_path} is not empty (server.py): give a new folder, or empty it.\n"
    assert (tmp_path / "server.py").read_text(encoding="utf-8") == "mine"
    assert len(list(tmp_path.iterdir())) == 1


def test_a_fresh_checkout_counts_as_empty(command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".git").mkdir()
    monkeypatch.chdir(tmp_path)
    code, out, _ = command("new", ".")
    assert code == Exit.OK
    assert "cd " not in out
    assert (tmp_path / "server.py").is_file()


def test_folders_on_the_way_are_made(command: Command, tmp_path: Path) -> None:
    assert command("new", str(tmp_path / "a" / "b")).code == Exit.OK
    assert (tmp_path / "a" / "b" / "client.py").is_file()


def test_a_file_is_no_folder(command: Command, tmp_path: Path) -> None:
    (tmp_path / "x").write_text("", encoding="utf-8")
    assert command("new", str(tmp_path / "x")) == (
        Exit.USAGE, "", f"error: {tmp_path / 'x'} is a file: give the name of a folder.\n"
    )  # fmt: skip
    code, _, err = command("new", str(tmp_path / "x" / "y"))
    assert code == Exit.FAILED
    assert err.startswith(f"error: {tmp_path / 'x' / 'y'} can't be written: ")
