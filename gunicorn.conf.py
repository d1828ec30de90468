"""How gunicorn serves: each number with its reason (operations page, section 5), and its hooks."""

from __future__ import annotations

import contextlib
import faulthandler
import gc
import json
import logging
import os
import select
import shutil
import sys
import time
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from gunicorn.arbiter import Arbiter

# HUP runs this file again in the same master: what it imports has to be the new code too.
for _name in [name for name in sys.modules if name.partition(".")[0] in {"config", "persistence"}]:
    del sys.modules[_name]

from config import GUNICORN_TIMEOUT_S, Config  # noqa: E402 - see above.
from persistence.embedded import EmbeddedError, EmbeddedServers  # noqa: E402 - see above.
from persistence.embedded_process import require_free  # noqa: E402 - see above.

settings = Config.load()
# prometheus_client reads this when it is imported, which the workers do after the fork.
_metrics = settings.var_dir / "run" / "metrics"
os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(_metrics)

bind = settings.bind
worker_class = "gthread"
workers = settings.web_concurrency  # One a CPU: Python threads share a CPU, processes do not.
# Two more than may hold a database connection: they answer probes and refusals (OS1).
threads = settings.web_threads + 2
# gthread queues what it accepts without bound; connections beyond threads are kept alive.
worker_connections = 4 * threads
backlog = 512  # A burst waits in the kernel, not in a worker that may be full.
timeout = GUNICORN_TIMEOUT_S  # A heartbeat of the worker; it never ends a request.
graceful_timeout = 30  # Less than systemd's 40, so that gunicorn, not systemd, ends workers.
keepalive = 75  # More than nginx' 60, so that nginx, not we, closes an idle connection.
preload_app = False  # HUP loads new code.
reuse_port = False  # With it, HUP reset 2 of 2,842 connections; without it 0 of 6,062.
max_requests = 0  # Nothing leaks that a restart would have to hide (benchmark B10).
http_parser = "python"  # `auto` takes an outdated gunicorn_h1c where one is installed.
control_socket_disable = True  # On by default since 25.1; signals are enough.
limit_request_line = 4094  # These three bound what a header can cost before the app sees it.
limit_request_fields = 64
limit_request_field_size = 8190
# Heartbeats are files: on a slow disk they would kill workers that are well.
worker_tmp_dir = "/dev/shm" if Path("/dev/shm").is_dir() else None  # noqa: S108 - not a secret.
# Only these may say by X-Forwarded-Proto what the client used.
forwarded_allow_ips = ",".join(settings.trusted_proxy_ips)


READY_WAIT_S = 120.0  # For new workers to load; then the old ones go all the same.


class JsonLine(logging.Formatter):
    """gunicorn's own lines in the shape of ours: one JSON object a line, UTC."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line of `record`."""
        line = {
            "ts": datetime.fromtimestamp(record.created, UTC).isoformat(),
            "level": record.levelname.lower(),
            "event": record.getMessage(),
            "logger": record.name,
            "pid": record.process,
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line)


loglevel = settings.log_level
# There is no access log: the canonical line of each request says more. A logconfig_dict would
# switch it on, so the handler of gunicorn's own lines is replaced by hand.
if settings.log_format == "json":
    errorlog = os.devnull
    _lines = logging.StreamHandler()
    _lines.setFormatter(JsonLine())
    logging.getLogger("gunicorn.error").handlers = [_lines]


def on_starting(server: Any) -> None:
    """Make a clean run/ and start or adopt the embedded servers; exit 2 with a sentence if not."""
    server.embedded = EmbeddedServers.for_config(settings)
    try:
        if "GUNICORN_PID" not in os.environ and "LISTEN_FDS" not in os.environ:
            require_free(bind)
        server.embedded.acquire()
    except EmbeddedError as error:
        sys.stderr.write(f"{error}\n")
        sys.exit(2)
    shutil.rmtree(_metrics, ignore_errors=True)  # Files of dead pids would be counted for ever.
    _metrics.mkdir()
    (settings.var_dir / "run" / "drain").unlink(missing_ok=True)
    if server.embedded.redis_url == "off":
        server.log.warning("No Valkey for this platform in the wheel: running without Redis")


def post_fork(server: Any, worker: Any) -> None:
    """Tell the worker where the embedded servers are, before it loads the application."""
    os.environ.update(server.embedded.environment())
    worker.ready = getattr(server, "ready", None)


def on_reload(server: Any) -> None:
    """Let the old workers serve until the new ones can.

    gunicorn stops them at once: whoever comes then waits as long as the application loads.
    """
    server.ready = os.pipe()
    server.manage_workers = partial(_replace_when_ready, server)


def _replace_when_ready(server: Any) -> None:
    """Stand for the one call that stops the old workers."""
    del server.manage_workers  # The class's own again.
    can_read, can_write = server.ready
    left, until = server.cfg.workers, time.monotonic() + READY_WAIT_S
    while left > 0 and time.monotonic() < until:
        if select.select([can_read], [], [], 0.1)[0]:
            left -= len(os.read(can_read, left))
        server.reap_workers()  # One that cannot load halts us, as at a start.
    server.ready = None
    os.close(can_read)
    os.close(can_write)
    server.manage_workers()


def child_exit(server: Any, worker: Any) -> None:  # noqa: ARG001 - gunicorn calls it with both.
    """Drop the live gauges of a dead worker, as prometheus_client.multiprocess does."""
    for path in _metrics.glob(f"gauge_live*_{worker.pid}.db"):
        path.unlink(missing_ok=True)


def worker_abort(worker: Any) -> None:  # noqa: ARG001 - gunicorn calls it with the worker.
    """Show where every thread hangs, before gunicorn kills a worker without a heartbeat."""
    faulthandler.dump_traceback(all_threads=True)


def on_exit(server: Any) -> None:
    """Let go of the embedded servers; the last user stops them."""
    server.embedded.release()


def post_worker_init(worker: Any) -> None:
    """Begin to connect and hash once, so that no first request is slower (AC6, A25).

    Refuse to serve with stored keys that cannot be opened, and on a server that may lose answers
    or hang (OS6, OD3).
    """
    held = worker.wsgi.extensions["strongroom"]
    held.db.open()
    held.kv.open()
    fault = held.signing_keys.fault()
    faults = [*([fault] if fault else []), *worker.wsgi.extensions["strongroom.boot_faults"]()]
    if faults:
        sys.stderr.write("".join(f"{each}\n" for each in faults))
        sys.exit(Arbiter.APP_LOAD_ERROR)  # The one code of a worker that ends the master too.
    held.passwords.warm()
    worker.handle_error = partial(_refuse, worker, worker.handle_error)
    keep_application()
    worker.log.info("Worker ready (pid: %s)", worker.pid)
    if worker.ready:
        os.write(worker.ready[1], b"!")


def keep_application() -> None:
    """Leave what the application is made of out of the search for garbage: it stays for good.

    A large batch makes so many objects that the search ran over all of it, again and again: that
    was half of what Python did for a batch of 2,000.
    """
    gc.collect()
    gc.freeze()


def _refuse(worker: Any, otherwise: Any, request: Any, client: Any, address: Any, exc: Any) -> None:
    """Answer what could not be read as every other refusal; gunicorn's own answer is HTML."""
    answer = worker.wsgi.extensions["strongroom.refusal"](exc, address[0] if address else "")
    if answer is None:
        otherwise(request, client, address, exc)
        return
    with contextlib.suppress(OSError):  # The client has gone.
        client.sendall(answer)


def worker_exit(server: Any, worker: Any) -> None:  # noqa: ARG001 - gunicorn calls it with both.
    """Give the connections back after the last request."""
    application = getattr(worker, "wsgi", None)
    if application is not None:  # Else it could not be loaded.
        held = application.extensions["strongroom"]
        held.kv.close()
        held.db.close()
