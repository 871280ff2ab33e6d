"""Workers and brokers that can't be let in: one clear line each, and nobody else notices."""

import socket
from pathlib import Path

import pytest

from server_room_system import RuleSet

from .cluster import LOCAL, Broker, Processes, Running, free_ports, workers_address
from .system import clients, gathered, hear, on_a_loop


async def refused(worker: Running, *words: str, code: int = 5) -> None:
    """It ends with this code, and the one line on its errors has these words."""
    assert await worker.ends() == code
    errors = [line for line in worker.log.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1, worker.log
    assert "Traceback" not in worker.log
    for word in words:
        assert word in errors[0]


@on_a_loop
async def test_workers_that_are_not_what_they_say_are_refused_in_one_line_and_the_cluster_goes_on(
    processes: Processes,
) -> None:
    port = free_ports(9)
    here = workers_address(port)
    broker = processes.serve("--workers", 0, port=port)
    async with clients(await broker.listens(), 2) as (a, b):
        first = processes.worker(here, "--name", "first", "--public", f"tcp://{LOCAL}:{port + 2}")
        await broker.says("worker first registered")
        rooms = await gathered(a, b, room="hall")
        shared = f"tcp://{LOCAL}:{port + 2}"

        def applies(name: str, offset: int, public: str, **environment: str) -> Running:
            listen = f"{LOCAL}:{port + offset}"
            return processes.worker(
                here, "--name", name, "--listen", listen, "--public", public, environment=environment
            )

        stranger = applies("stranger", 3, f"{LOCAL}:{port + 3}", SRS_KEY="ab" * 32)
        double = applies("first", 4, f"{LOCAL}:{port + 4}")
        thief = applies("thief", 5, shared)
        lost = applies("lost", 6, f"{LOCAL}:{port + 8}")
        everywhere = applies("everywhere", 7, f"0.0.0.0:{port + 7}")
        await refused(stranger, "does not have our cluster key")
        await refused(double, "a worker named 'first' is here already", "--name")
        await refused(thief, f"{shared} is not this worker's", "somebody else answers there")
        await refused(lost, f"nobody answers at tcp://{LOCAL}:{port + 8}", "--public")
        await refused(everywhere, "0.0.0.0", "no address that clients can connect to")
        await rooms[0].send("say", "still here", ack=True)
        assert await hear(rooms[1], "said") == [a.id, "still here"]
        assert await rooms[0].request("pid") == first.pid
        assert (a.connected, b.connected) == (True, True)


@on_a_loop
async def test_a_worker_on_a_port_that_is_taken_says_so(processes: Processes) -> None:
    port = free_ports(3)
    broker = processes.serve("--workers", 0, port=port)
    await broker.listens()
    with socket.socket() as holder:
        holder.bind((LOCAL, port + 2))
        holder.listen()
        worker = processes.worker(workers_address(port), "--public", f"tcp://{LOCAL}:{port + 2}")
        await refused(worker, f"{LOCAL}:{port + 2}", "in use", code=4)


@on_a_loop
async def test_a_worker_without_a_key_says_where_it_looked(processes: Processes) -> None:
    port = free_ports()
    worker = processes.worker(workers_address(port))
    await refused(
        worker, "there is no cluster key", "--key-file", f"no broker of this user runs on port {port}", code=2
    )


@on_a_loop
async def test_a_worker_at_the_address_for_clients_is_told_so(processes: Processes) -> None:
    broker = processes.serve("--workers", 0, port=free_ports())
    address = await broker.listens()
    worker = processes.worker(address, environment={"SRS_KEY": "ab" * 32})
    await refused(worker, "Is it the address for clients?", "--worker-address")


@on_a_loop
async def test_a_worker_that_finds_no_broker_says_so_once_and_waits(processes: Processes) -> None:
    port = free_ports()
    processes.environment["SRS_KEY"] = "ab" * 32
    worker = processes.worker(workers_address(port), "--name", "early")
    await worker.says(f"no broker answers at {workers_address(port)}")
    broker = processes.serve("--workers", 0, port=port)
    await broker.says("worker early registered")
    await worker.says("worker early serves")
    assert worker.log.count("no broker answers") == 1


@pytest.mark.parametrize("command", ["serve", "worker"])
@on_a_loop
async def test_a_target_that_does_not_import_is_one_line(processes: Processes, tmp_path: Path, command: str) -> None:
    (tmp_path / "broken.py").write_text("import no_such_module\n")
    target = "broken.py:server"
    process: Running = (
        processes.serve("--workers", 1, target=target)
        if command == "serve"
        else processes.worker("tcp://127.0.0.1:9", target=target)
    )
    await refused(process, "broken.py", "no_such_module", "line 1", code=2)
    assert process.log.count("\n") == 1


async def serves(broker: Broker) -> None:
    """It still makes rooms, and its workers run them."""
    async with clients(await broker.listens(), 1) as (a,):
        room = await a.create(RuleSet(1, room="hall"))
        await room.send("say", 1, ack=True)


@on_a_loop
async def test_a_second_broker_on_the_port_leaves_the_first_and_its_state_alone(processes: Processes) -> None:
    port = free_ports()
    first = processes.serve("--workers", 1, port=port)
    await serves(first)
    state = processes.state / f"{port}.json"
    before = state.read_bytes()
    second = processes.serve("--workers", 1, port=port)
    await refused(second, f"{LOCAL}:{port}", "in use", code=4)
    assert state.read_bytes() == before
    assert len(processes.launched()) == 1
    await serves(first)


@on_a_loop
async def test_a_workers_port_that_is_taken_is_said_and_nothing_is_left(processes: Processes) -> None:
    port = free_ports()
    with socket.socket() as holder:
        holder.bind((LOCAL, port + 1))
        holder.listen()
        broker = processes.serve("--workers", 1, port=port)
        await refused(broker, f"{LOCAL}:{port + 1}", "--worker-address", code=2)
    assert processes.pids() == []
    assert not processes.state.exists()
