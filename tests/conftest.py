"""Real servers for every test that asks: PostgreSQL and Valkey a process, a database a test.

A test names what it needs: `database` (URL of a migrated clone, as the application's role),
`database_owner`, `empty_database`, `kv_url`, `own_servers`. Rules AT1, AT2, AT3, AT7.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import uuid
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit, urlunsplit

import psutil
import psycopg
import pytest
import redis
import structlog
from psycopg import sql
from werkzeug.routing import Rule

import observability
from persistence.embedded import EmbeddedServers, EmbeddedSettings
from persistence.embedded_postgres import APP_ROLE, OWNER_ROLE, SUPERUSER, make_roles
from persistence.migrator import MigrationSettings, apply_all
from tests import bouncer
from tests.clients import People
from tests.world import World

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator

ROOT = Path(__file__).resolve().parent.parent
PG_MAJOR = int(os.environ.get("TEST_PG_MAJOR", "18"))
LEFT_OUT = pytest.StashKey[Counter[str]]()
# These have no SQL of their own: what they call is tested on 16 one layer below. Files of
# contract/ and legacy/ that have say so.
ABOVE_SQL = {"blueprints", "commands", "contract", "faults", "legacy"}
# Durability is not what these databases are for, and a suite makes hundreds of them. Tests of
# faults ask for `own_servers`, which keep every promise.
FAST = {"fsync": "off", "full_page_writes": "off", "synchronous_commit": "off"}


def _folder(memory: Path, needed_bytes: int) -> Path:
    """Return where servers live: a database is made in memory in a fifth of the time."""
    has_room = memory.is_dir() and shutil.disk_usage(memory).free > needed_bytes
    root = memory if has_room else Path(tempfile.gettempdir())
    return root / f"strongroom-tests-{os.geteuid()}"


SERVERS = _folder(Path("/dev/shm"), 4 * 1024**3)  # noqa: S108 - holds what tests make up.

os.environ.setdefault("FLASK_SKIP_DOTENV", "1")
os.environ.setdefault("FEATURE_LEDGER_ENABLED", "true")
# Commands under test start the version that the run is about (AT9).
os.environ.setdefault("EMBEDDED_PG_MAJOR", str(PG_MAJOR))


# --- The rules of the suite ---------------------------------------------------------------------


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "servers: set by itself on what needs any")
    config.addinivalue_line("markers", "database: set by itself on what runs on 16 too (AT9)")
    config.addinivalue_line("markers", "needs(program): is left out, and counted, without it")
    config.stash[LEFT_OUT] = Counter()
    _refuse_outside_sockets()
    _compile_routes_once()
    # A shell starts what stands in its background deaf to Ctrl-C, and commands would inherit it.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if "PYTEST_XDIST_WORKER" not in os.environ:
        _stop_leftovers()


def _refuse_outside_sockets() -> None:
    connect = socket.socket.connect

    def guarded(self: socket.socket, address: Any) -> None:
        local = self.family == socket.AF_UNIX or address[0] in {"127.0.0.1", "::1", "localhost"}
        if not local:
            raise PermissionError(f"A test called {address}: this suite has no network (AT7)")
        connect(self, address)

    socket.socket.connect = guarded  # type: ignore[method-assign, assignment]


def _compile_routes_once() -> None:
    """Keep what Werkzeug compiles of a route: thousands of applications here have the same ones."""
    compiled: dict[tuple[str, bool], Any] = {}
    compile_anew = Rule._compile_builder

    def kept(self: Rule, append_unknown: bool = True) -> Any:
        name = (self.rule, append_unknown)
        if self.defaults or name not in compiled:
            compiled[name] = compile_anew(self, append_unknown)
        return compiled[name]

    Rule._compile_builder = kept  # type: ignore[method-assign]


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Mark the tests that run on 16 too, and leave out those of Redis where there is none."""
    kept: list[pytest.Item] = []
    left_out: list[pytest.Item] = []
    for item in items:
        names = set(getattr(item, "fixturenames", ()))
        if names & {"servers", "var_dir", "own_servers"}:
            item.add_marker("servers")
        asks = item.path.relative_to(ROOT).parts[1] not in ABOVE_SQL
        if asks and names & {"postgres", "var_dir", "own_servers"}:
            item.add_marker("database")
        without = os.environ.get("TEST_REDIS_URL") == "off" and "kv_url" in names
        (left_out if without or _missing(item) else kept).append(item)
    items[:] = kept
    needed = Counter(name for item in left_out for name in _missing(item)[:1])
    config.stash[LEFT_OUT] = needed
    config.hook.pytest_deselected(items=left_out)


def _missing(item: pytest.Item) -> list[str]:
    """Return the programs of the system that the test needs and that are not installed."""
    needed = [name for mark in item.iter_markers("needs") for name in mark.args]
    if bouncer.IS_ON and "database" in getattr(item, "fixturenames", ()):
        needed.append("pgbouncer")
    return [name for name in needed if not program(name)]


def program(name: str) -> str | None:
    """Return the path of a program of the system; servers are not in everybody's PATH."""
    return shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin:/sbin")


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Let an xdist worker tell what it left out: only the run itself can say so."""
    output = getattr(session.config, "workeroutput", None)
    left_out = session.config.stash[LEFT_OUT]
    if output is not None:
        output["left_out"] = dict(left_out)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Take it over: every worker has collected the same."""
    told = getattr(node, "workeroutput", {}).get("left_out", {})
    node.config.stash[LEFT_OUT] = Counter(told)


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """Say what did not run, so that it does not look as if it had (AT7)."""
    for name, number in sorted(config.stash[LEFT_OUT].items()):
        terminalreporter.write_line(f"NOT RUN: {number} tests need {name}, which is not installed.")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Let a skipped test fail: what does not run must not look as if it had (AT7)."""
    report = yield
    if report.skipped:
        report.outcome = "failed"
    return report


@pytest.fixture(autouse=True)
def fresh_process() -> None:
    """Forget what an earlier test left in this process: a deadline, a log level, a log handler."""
    observability.begin(observability.Context())
    structlog.reset_defaults()
    root = logging.getLogger()
    for handler in root.handlers[:]:
        if isinstance(handler, observability.ForeignLogs):
            root.removeHandler(handler)


# --- Servers ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class PostgresServer:
    """One server of the run: a URL that may do everything, and our roles' passwords."""

    admin_url: str
    passwords: dict[str, str]

    def url(self, database: str, role: str | None = None) -> str:
        """Return the URL of `database` as `role`, as the administrator without one."""
        parts = urlsplit(self.admin_url)
        host = parts.netloc.rpartition("@")[2]
        netloc = f"{role}:{self.passwords[role]}@{host}" if role else parts.netloc
        return urlunsplit(parts._replace(netloc=netloc, path=f"/{database}"))


@pytest.fixture(scope="session")
def servers() -> Iterator[EmbeddedServers]:
    """Embedded servers of this process alone.

    What runs on a server holds back what is final on it, in every database: xdist's workers
    would wait for each other's transactions.
    """
    directory = SERVERS / str(os.getpid())
    settings = EmbeddedSettings(
        directory,
        pg_major=PG_MAJOR,
        postgres="TEST_DATABASE_URL" not in os.environ,
        valkey="TEST_REDIS_URL" not in os.environ,
        pg_options=FAST,
    )
    with EmbeddedServers(settings) as started:
        yield started
    if started.reset():
        shutil.rmtree(directory)


def _stop_leftovers() -> None:
    """Stop the servers of processes that were killed."""
    for left in SERVERS.glob("[0-9]*"):
        if not psutil.pid_exists(int(left.name)):
            # Another run may do the same at this moment.
            with contextlib.suppress(FileNotFoundError):
                EmbeddedServers(EmbeddedSettings(left)).reset()
                shutil.rmtree(left)


@pytest.fixture(scope="session")
def postgres(servers: EmbeddedServers) -> PostgresServer:
    """The server of this run: the embedded one, or TEST_DATABASE_URL's, whose user may do all."""
    roles = (OWNER_ROLE, APP_ROLE)
    if servers.postgres:
        secrets = {role: servers.var.secret(role) for role in roles}
        return PostgresServer(servers.postgres.url(SUPERUSER, "postgres"), secrets)
    given = PostgresServer(os.environ["TEST_DATABASE_URL"], dict.fromkeys(roles, "for-tests-only"))
    with psycopg.connect(given.admin_url, autocommit=True) as conn:
        conn.execute("SELECT pg_advisory_lock(hashtext('strongroom tests'))")
        make_roles(conn, given.passwords)
    return given


@pytest.fixture(scope="session")
def admin(postgres: PostgresServer) -> Iterator[psycopg.Connection[Any]]:
    """A connection that makes and drops databases; one a worker."""
    with psycopg.connect(postgres.admin_url, autocommit=True) as conn:
        yield conn


# --- Databases ----------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def template(postgres: PostgresServer, admin: psycopg.Connection[Any]) -> str:
    """Return the name of the migrated template; its name tells from which files it was made."""
    digest = hashlib.sha256()
    for path in sorted([*ROOT.glob("sql/**/*.sql"), *ROOT.glob("persistence/migrat*.py")]):
        digest.update(path.read_bytes())
    name = f"strongroom_template_{digest.hexdigest()[:16]}"
    admin.execute("SELECT pg_advisory_lock(hashtext('strongroom template'))")
    try:
        found = admin.execute("SELECT FROM pg_database WHERE datname = %s", (name,))
        if found.fetchone() is None:
            _make_template(postgres, admin, name)
    finally:
        admin.execute("SELECT pg_advisory_unlock(hashtext('strongroom template'))")
    return name


def _make_template(postgres: PostgresServer, admin: psycopg.Connection[Any], name: str) -> None:
    draft = f"draft_{uuid.uuid4().hex}"
    _create(admin, draft, "template0")
    _migrate(postgres.url(draft, OWNER_ROLE))
    admin.execute(
        sql.SQL("ALTER DATABASE {} RENAME TO {}").format(
            sql.Identifier(draft), sql.Identifier(name)
        )
    )


def _migrate(url: str) -> None:
    apply_all(MigrationSettings(database_url=url))


def _create(admin: psycopg.Connection[Any], name: str, template: str) -> None:
    admin.execute(
        sql.SQL("CREATE DATABASE {} OWNER {} TEMPLATE {} STRATEGY FILE_COPY").format(
            sql.Identifier(name), sql.Identifier(OWNER_ROLE), sql.Identifier(template)
        )
    )


def _drop(admin: psycopg.Connection[Any], name: str) -> None:
    admin.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


@pytest.fixture(scope="session")
def used_clones(admin: psycopg.Connection[Any]) -> Iterator[list[str]]:
    """Names of databases that tests have used and that are to be dropped."""
    names: list[str] = []
    yield names
    for name in names:
        _drop(admin, name)


@pytest.fixture
def clone(
    postgres: PostgresServer,
    admin: psycopg.Connection[Any],
    template: str,
    used_clones: list[str],
) -> Iterator[str]:
    """Return the name of a fresh clone; after the test no check of sql/checks may have a row."""
    name = f"test_{uuid.uuid4().hex}"
    _create(admin, name, template)
    try:
        yield name
        _assert_invariants(postgres.url(name))
    finally:
        # PostgreSQL sleeps 100 ms for each backend that is about to leave: by the next test it has.
        for old in used_clones:
            _drop(admin, old)
        used_clones[:] = [name]


def _assert_invariants(url: str) -> None:
    """Run the checks that read a table which has ever held a row: of the others none finds any."""
    broken = {}
    with psycopg.connect(url, autocommit=True) as conn:
        found = conn.execute(
            "SELECT array_agg(relname::text) FROM pg_class"
            " WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace"
            " AND pg_relation_size(oid) > 0"
        ).fetchone()
        filled = set(found[0] or ()) if found else set()
        for path in sorted(ROOT.glob("sql/checks/*.sql")):
            text = path.read_text("utf-8")
            if filled.isdisjoint(re.findall(r"\w+", text)):
                continue
            rows = conn.execute(text.encode()).fetchall()
            if rows:
                broken[path.stem] = rows[:3]
    assert not broken, f"The test broke an invariant (AT3): {broken}"


@pytest.fixture(scope="session")
def bouncers_folder(postgres: PostgresServer) -> Iterator[Path]:
    """Where a PgBouncer before the run's server has its socket; the role keeps the settings."""
    found = program("pgbouncer")
    assert found, "A test that needs pgbouncer says so by its mark."
    with psycopg.connect(postgres.admin_url, autocommit=True) as conn:
        conn.execute("SELECT pg_advisory_lock(hashtext('strongroom tests'))")
        conn.execute((ROOT / "deploy/roles.sql").read_bytes())
    with bouncer.running(found, postgres.admin_url, postgres.passwords) as folder:
        yield folder


@pytest.fixture
def database(postgres: PostgresServer, clone: str, request: pytest.FixtureRequest) -> str:
    """URL of a fresh, migrated database, as the application's unprivileged role.

    With TEST_POOLER=pgbouncer it goes through a PgBouncer.
    """
    url = postgres.url(clone, APP_ROLE)
    if bouncer.IS_ON:
        return bouncer.through(url, request.getfixturevalue("bouncers_folder"))
    return url


@pytest.fixture
def database_owner(postgres: PostgresServer, clone: str) -> str:
    """URL of the same database as its owner, who runs migrations."""
    return postgres.url(clone, OWNER_ROLE)


@pytest.fixture
def database_admin(postgres: PostgresServer, clone: str) -> str:
    """URL of the same database as the server's administrator (pg_terminate_backend and such)."""
    return postgres.url(clone)


@pytest.fixture
def empty_database(postgres: PostgresServer, admin: psycopg.Connection[Any]) -> Iterator[str]:
    """URL of an empty database, as its owner: for the runner of migrations."""
    name = f"test_{uuid.uuid4().hex}"
    _create(admin, name, "template0")
    try:
        yield postgres.url(name, OWNER_ROLE)
    finally:
        _drop(admin, name)


# --- Redis, and servers of one's own ------------------------------------------------------------


@pytest.fixture
def kv_url(servers: EmbeddedServers) -> str:
    """URL of an empty Redis or Valkey database, one a worker."""
    given = os.environ.get("TEST_REDIS_URL") or servers.redis_url
    assert given, "No Valkey here: set TEST_REDIS_URL, or set it to `off` to leave these tests out."
    number = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % 16
    url = f"{given}{'&' if '?' in given else '?'}db={number}"
    with redis.Redis.from_url(url) as client:
        client.flushdb()
    return url


@pytest.fixture(scope="session")
def made_var_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A VAR_DIR as the first start leaves it: copied, it saves the copies a second of initdb."""
    path = tmp_path_factory.mktemp("made") / "var"
    settings = EmbeddedSettings(path, pg_major=PG_MAJOR, valkey=False, pg_options=FAST)
    with EmbeddedServers(settings):
        return path


@pytest.fixture
def var_dir(made_var_dir: Path, tmp_path: Path) -> Iterator[Path]:
    """A VAR_DIR of the test's own; what still runs in it afterwards is stopped."""
    path = tmp_path / "var"
    subprocess.run(["cp", "-a", str(made_var_dir), str(path)], check=True)
    yield path
    EmbeddedServers(EmbeddedSettings(path)).reset()


@pytest.fixture
def own_servers(var_dir: Path) -> Iterator[EmbeddedServers]:
    """Durable servers of the test's own, started: to be killed, stopped and started again."""
    with EmbeddedServers(EmbeddedSettings(var_dir, pg_major=PG_MAJOR)) as servers:
        yield servers


@pytest.fixture
def world(database: str, tmp_path: Path) -> Iterator[World]:
    """The service over a fresh database, without Redis."""
    made = World(database, tmp_path)
    yield made
    made.close()


@pytest.fixture
def cached_world(database: str, kv_url: str, tmp_path: Path) -> Iterator[World]:
    """The service over a fresh database, with Redis; a busy machine must not trip the breaker."""
    made = World(database, tmp_path, kv_url, REDIS_TIMEOUT_MS="5000")
    made.services.kv.open()
    assert made.services.kv.wait_for("closed", 30)
    yield made
    made.close()


@pytest.fixture
def owner(database_owner: str) -> Iterator[Callable[..., None]]:
    """Change rows past the service, as the database's owner: `owner(statement, *params)`."""
    with psycopg.connect(database_owner, autocommit=True) as conn:

        def run(statement: str, *params: Any) -> None:
            conn.execute(statement.encode(), params or None)

        yield run


@pytest.fixture
def lapse(owner: Callable[..., None]) -> Callable[[str], None]:
    """Let an authorisation be overdue since 2020: in its row, and in its last event."""

    def run(payment_id: str) -> None:
        owner("UPDATE payments SET capture_before = '2020-01-01Z' WHERE id = %s", payment_id)
        owner(
            "UPDATE payment_events AS e SET after = e.after || jsonb_build_object("
            "'capture_before', p.capture_before) FROM payments AS p"
            " WHERE p.id = %s AND e.payment_id = p.id AND e.seq = p.version",
            payment_id,
        )

    return run


@pytest.fixture
def people(database: str, tmp_path: Path) -> Iterator[People]:
    """The service as people use it, without Redis; hashing is as cheap as the settings allow."""
    made = People(database, tmp_path)
    yield made
    made.close()
