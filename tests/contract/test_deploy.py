"""deploy/: what its files name exists, they agree with each other, no secret stands there (OD1).

No container engine runs here: Dockerfile and compose file are read, not built.
"""

from __future__ import annotations

import configparser
import re
import shlex
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
import yaml

import cli
from config import Config, has_twin
from tests.contract.tree import ROOT, files, text

if TYPE_CHECKING:
    from pathlib import Path

SETTINGS = {field.upper() for field in Config.model_fields}
# Of Flask and of Python.
OTHERS = {"FLASK_SKIP_DOTENV", "PATH", "PYTHONDONTWRITEBYTECODE", "PYTHONUNBUFFERED"}
TWINS = {f"{field.upper()}_FILE" for field in Config.model_fields if has_twin(field)}
SOCKET = "/run/strongroom/http.sock"


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load(text("deploy/compose.yaml"))
    return loaded


def ours(compose: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the services that run our image."""
    found = compose["services"].items()
    return {name: each for name, each in found if each["image"] == "strongroom"}


def instructions() -> list[tuple[str, str]]:
    """Return the Dockerfile's instructions, its continued lines joined."""
    joined = re.sub(r"\\\n\s*", "", text("deploy/Dockerfile"))
    lines = [line for line in joined.splitlines() if line and not line.startswith("#")]
    return [(line.partition(" ")[0], line.partition(" ")[2]) for line in lines]


def copied_files() -> list[str]:
    """Return what of the project is in the image."""
    return [
        word
        for name, rest in instructions()
        if name == "COPY" and not rest.startswith("--from")
        for word in rest.split()[:-1]
    ]


def is_command(words: list[str]) -> bool:
    """Tell whether these are gunicorn with our configuration, or a command of ours."""
    if words[0] == "gunicorn":
        return words[1:] == ["-c", "gunicorn.conf.py", "wsgi:app"]
    known = {command.name for command in cli.ALL}
    return words[0] == "flask" and words[1] in known


# --- Containers ---------------------------------------------------------------------------------


def test_compose_names_settings_that_exist(compose: dict[str, Any]) -> None:
    """OD1: and each secret by its file."""
    for name, each in ours(compose).items():
        named = set(each["environment"])
        assert named <= SETTINGS | TWINS, name
        assert each["environment"]["FEATURE_LEDGER_ENABLED"] == "true"
        given = [v for k, v in each["environment"].items() if k.endswith("_FILE")]
        assert {path.removeprefix("/run/secrets/") for path in given} <= set(each["secrets"])
        assert set(each["secrets"]) <= set(compose["secrets"])


def test_compose_runs_commands_that_exist(compose: dict[str, Any]) -> None:
    """OD1: what has none runs the image's."""
    for each in ours(compose).values():
        assert is_command(each.get("command", ["gunicorn", "-c", "gunicorn.conf.py", "wsgi:app"]))


def test_compose_mounts_what_there_is(compose: dict[str, Any]) -> None:
    """OD1: files of deploy/ and volumes of its own; secrets are made by who deploys."""
    for each in compose["services"].values():
        for mount in each.get("volumes", []):
            source = mount.partition(":")[0]
            if source.startswith("./secrets"):
                continue
            is_there = (ROOT / "deploy" / source).exists() if "/" in source else False
            assert is_there or source in compose["volumes"], mount


def test_compose_starts_in_order_and_stops_in_peace(compose: dict[str, Any]) -> None:
    """Section 10: migrate once, then the rest; 45 s to stop; nothing to write to."""
    for name, each in ours(compose).items():
        assert each["read_only"] is True
        assert each["stop_grace_period"] == "45s"
        assert each["cap_drop"] == ["ALL"]
        waits = each["depends_on"].get("migrate", {}).get("condition")
        assert name == "migrate" or waits == "service_completed_successfully"
    for each in compose["services"].values():
        assert set(each.get("depends_on", [])) <= set(compose["services"])
    assert not re.search(r"privileged|network_mode", text("deploy/compose.yaml"))


def test_stores_and_service_of_compose_meet_at_sockets(compose: dict[str, Any]) -> None:
    """OD2: production takes a socket without TLS, and both sides mount its volume."""
    web = ours(compose)["web"]
    assert web["environment"]["REDIS_URL"] == "unix:///run/valkey/valkey.sock"
    assert "/run/valkey/valkey.sock" in compose["services"]["valkey"]["command"]
    for volume in ("database", "cache", "http"):
        users = [
            name
            for name, each in compose["services"].items()
            if any(mount.startswith(f"{volume}:") for mount in each.get("volumes", []))
        ]
        assert "web" in users
        assert len(users) > 1


def test_the_image_has_every_module_and_no_secret() -> None:
    """OD1: what it copies exists and is let through; it runs as nobody in particular."""
    parts = instructions()
    bases = [rest.split()[0] for name, rest in parts if name == "FROM"]
    assert bases == ["python:3.13-slim"] * 2
    copied = copied_files()
    allowed = {line[1:] for line in text(".dockerignore").splitlines() if line.startswith("!")}
    assert set(copied) == allowed
    assert all((ROOT / each).exists() for each in copied)
    modules = {path.name for path in ROOT.glob("*.py")} | {
        path.parent.name for path in ROOT.glob("*/__init__.py")
    }
    assert modules - set(copied) <= {"bench", "tests"}
    assert ("USER", "10001") in parts
    assert any("--require-hashes" in rest for name, rest in parts if name == "RUN")
    (settings,) = (rest for name, rest in parts if name == "ENV")
    named = {pair.partition("=")[0] for pair in shlex.split(settings)}
    assert named <= SETTINGS | OTHERS


def test_what_the_image_has_is_enough_to_start(tmp_path: Path) -> None:
    """OD1: a folder with these files alone makes the application."""
    for name in copied_files():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, tmp_path / name)
    done = subprocess.run(
        [sys.executable, "-c", "import wsgi"],
        cwd=tmp_path,
        env={"VAR_DIR": str(tmp_path / "var")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]


def test_the_image_runs_what_exists() -> None:
    """OD1: gunicorn with our configuration; the probe is a file that is copied."""
    parts = dict(instructions())
    assert is_command(yaml.safe_load(parts["CMD"]))
    probe = yaml.safe_load(parts["HEALTHCHECK"].partition("CMD ")[2])
    assert probe == ["python", "deploy/livez.py"]


# --- systemd, nginx, PgBouncer ------------------------------------------------------------------


@pytest.mark.needs("systemd-analyze")
def test_systemd_finds_the_units_valid(tmp_path: Path) -> None:
    """Section 10: with programs that exist here in place of the ones in /opt."""
    for unit in files("strongroom*", "deploy"):
        content = unit.read_text("utf-8")
        content = re.sub(r"/opt/strongroom/\.venv/bin/\w+", "/bin/true", content)
        (tmp_path / unit.name).write_text(content.replace("/opt/strongroom", "/"))
    units = [str(path) for path in sorted(tmp_path.iterdir())]
    command = ["systemd-analyze", "verify", "--man=no", *units]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    said = [line for line in done.stderr.splitlines() if str(tmp_path) in line]
    assert said == []


def test_units_run_commands_that_exist() -> None:
    """OD1: and the project's own interpreter."""
    for unit in files("*.service", "deploy"):
        found = re.findall(r"^Exec(?:Start|Stop)=(.+)", unit.read_text("utf-8"), re.MULTILINE)
        assert found
        for line in found:
            words = shlex.split(line.removeprefix("/opt/strongroom/.venv/bin/"))
            words = words[2:] if words[:2] == ["python", "-m"] else words
            assert is_command(words), line


def test_socket_service_and_nginx_mean_the_same_socket() -> None:
    """Section 10: whoever restarts the service keeps it."""
    assert f"ListenStream={SOCKET}\n" in text("deploy/strongroom.socket")
    assert f"BIND=unix:{SOCKET} " in text("deploy/strongroom.service")
    assert f"server unix:{SOCKET} fail_timeout=0;" in text("deploy/nginx.conf")
    assert f"BIND=unix:{SOCKET} " in text("deploy/Dockerfile")
    assert "RuntimeDirectory=" not in text("deploy/strongroom.service")  # It would go with it.


def test_stops_are_longer_than_what_they_stop() -> None:
    """OS4: gunicorn's 30 s, systemd's 40, the container's 45."""
    assert "graceful_timeout = 30" in text("gunicorn.conf.py")
    assert "TimeoutStopSec=40" in text("deploy/strongroom.service")


def test_pgbouncer_pools_transactions() -> None:
    """Section 10, OD3: to the one database that the units name."""
    parsed = configparser.ConfigParser()
    parsed.read_string(text("deploy/pgbouncer.ini"))
    assert parsed["pgbouncer"]["pool_mode"] == "transaction"
    assert list(parsed["databases"]) == ["strongroom"]
