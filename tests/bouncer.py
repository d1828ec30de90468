"""A PgBouncer of the run's own, with deploy/pgbouncer.ini, whose places are the test's.

`TEST_POOLER=pgbouncer` sends the whole suite's service through it: `make pooler`.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import psycopg

from persistence.embedded_process import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

ROOT = Path(__file__).resolve().parent.parent
IS_ON = os.environ.get("TEST_POOLER") == "pgbouncer"
PORT = 6432  # Of the name of a socket: nobody else's is in the way.


@contextlib.contextmanager
def running(program: str, admin_url: str, passwords: Mapping[str, str]) -> Iterator[Path]:
    """Run it before every database of the server; yields the folder of its socket."""
    folder = Path(tempfile.mkdtemp(prefix="bouncer-"))
    users = "".join(f'"{role}" "{password}"\n' for role, password in passwords.items())
    (folder / "userlist.txt").write_text(users)
    (folder / "pgbouncer.ini").write_text(_adapted(admin_url, folder))
    argv = [program, "-q", str(folder / "pgbouncer.ini")]
    if os.geteuid() == 0:  # It refuses to be root.
        owner = pwd.getpwnam("nobody")
        for path in (folder, *folder.iterdir()):
            os.chown(path, owner.pw_uid, owner.pw_gid)
        argv[1:1] = ["-u", "nobody"]
    process = subprocess.Popen(argv, stdout=subprocess.DEVNULL)
    try:
        assert wait_until((folder / f".s.PGSQL.{PORT}").exists, 10)
        yield folder
    finally:
        process.terminate()
        process.wait(10)
        shutil.rmtree(folder)


def _adapted(admin_url: str, folder: Path) -> str:
    """Put our places into the file as it is deployed."""
    with psycopg.connect(admin_url) as conn:
        host, port = conn.info.host, conn.info.port
    here = {
        "strongroom = host=127.0.0.1 port=5432": f"* = host={host} port={port}",
        "listen_addr = 127.0.0.1": "listen_addr =",
        "/etc/pgbouncer/userlist.txt": f"{folder}/userlist.txt",
        "listen_port = 6432": f"listen_port = {PORT}\nunix_socket_dir = {folder}",
        "server_idle_timeout = 60": "server_idle_timeout = 5",  # Each test has a database.
        "query_wait_timeout = 2": "query_wait_timeout = 20",  # No test fails on a time.
    }
    text = (ROOT / "deploy/pgbouncer.ini").read_text("utf-8")
    for theirs, ours in here.items():
        assert theirs in text, theirs
        text = text.replace(theirs, ours)
    return text


def through(url: str, folder: Path) -> str:
    """Return the URL of the same database by the bouncer in `folder`."""
    parts = urlsplit(url)
    credentials = parts.netloc.rpartition("@")[0]
    return f"postgresql://{credentials}@{parts.path}?host={folder}&port={PORT}"
