"""gunicorn.conf.py, as gunicorn itself reads it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What the file is read with."""
    var_dir = tmp_path_factory.mktemp("var")
    (var_dir / "run" / "metrics").mkdir(parents=True)  # on_starting makes it, before workers.
    return {
        "PATH": os.environ["PATH"],
        "VAR_DIR": str(var_dir),
        "WEB_CONCURRENCY": "3",
        "WEB_THREADS": "6",
        "BIND": "127.0.0.1:8123",
        "LOG_FORMAT": "console",
        "FLASK_SKIP_DOTENV": "1",
    }


@pytest.fixture(scope="module")
def settings(environment: dict[str, str]) -> dict[str, str]:
    """What gunicorn makes of the file: name and value, as it prints them."""
    command = [
        sys.executable,
        "-m",
        "gunicorn",
        "-c",
        "gunicorn.conf.py",
        "--print-config",
        "wsgi:app",
    ]
    told = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True
    )
    pairs = (line.partition("=") for line in told.stdout.splitlines() if "=" in line)
    return {name.strip(): value.strip() for name, _, value in pairs}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("bind", "['127.0.0.1:8123']"),
        ("worker_class", "gthread"),
        ("workers", "3"),
        ("threads", "8"),
        ("worker_connections", "32"),
        ("backlog", "512"),
        ("timeout", "30"),
        ("graceful_timeout", "30"),
        ("keepalive", "75"),
        ("preload_app", "False"),
        ("reuse_port", "False"),
        ("max_requests", "0"),
        ("http_parser", "python"),
        ("control_socket_disable", "True"),
        ("limit_request_line", "4094"),
        ("limit_request_fields", "64"),
        ("limit_request_field_size", "8190"),
        ("worker_tmp_dir", "/dev/shm"),  # noqa: S108 - not a secret.
        ("forwarded_allow_ips", "['127.0.0.1', '::1']"),
    ],
)
def test_gunicorn_serves_with_the_numbers_of_the_page(
    settings: dict[str, str], name: str, value: str
) -> None:
    """Operations page, section 5."""
    assert settings[name] == value


def test_a_worker_keeps_the_application_out_of_the_search_for_garbage(
    environment: dict[str, str],
) -> None:
    """B5: large batches do not search the application again and again."""
    script = (
        "import gc, runpy; conf = runpy.run_path('gunicorn.conf.py');"
        " conf['keep_application'](); print(gc.get_freeze_count())"
    )
    command = [sys.executable, "-c", script]
    told = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True
    )
    assert int(told.stdout) > 0


def test_a_start_is_refused_without_a_needed_master_key(database: str, tmp_path: Path) -> None:
    """Section 7 of the auth page: a stored signing key names a master key that is missing."""
    environment = {
        "PATH": os.environ["PATH"],
        "VAR_DIR": str(tmp_path),
        "BIND": f"unix:{tmp_path}/s",
        "TRUSTED_PROXY_HOPS": "1",
        "DATABASE_URL": database,
        "REDIS_URL": "off",
        "FLASK_SKIP_DOTENV": "1",
        "WEB_CONCURRENCY": "1",
        "JWT_ALG": "EdDSA",
        "AUTH_MASTER_KEYS": f"old:{'A' * 43}",
    }
    rotate = [sys.executable, "-m", "flask", "signing-keys", "rotate"]
    subprocess.run(rotate, cwd=ROOT, env=environment, capture_output=True, check=True)
    serve = [sys.executable, "-m", "gunicorn", "-c", "gunicorn.conf.py", "wsgi:app"]
    environment["AUTH_MASTER_KEYS"] = f"new:{'B' * 42}A"
    ended = subprocess.run(
        serve, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert ended.returncode != 0
    assert "AUTH_MASTER_KEYS lacks old: stored signing keys need it" in ended.stderr
    assert "A" * 43 not in ended.stderr
