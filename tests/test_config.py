"""Settings: one reader, all faults at once, nothing shown that is secret."""

from __future__ import annotations

import base64
import os
import stat
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import get_args

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pydantic import SecretStr, ValidationError

import config as module
from config import Config, ConfigError, allowed, has_twin, hkdf, is_secret, read

ROOT = Path(__file__).resolve().parent.parent
KEY = base64.urlsafe_b64encode(bytes(range(32))).decode().rstrip("=")
PRODUCTION = {
    "ENVIRONMENT": "production",
    "DATABASE_URL": "postgresql://u:p@db/app?sslmode=verify-full&sslrootcert=/ca.pem",
    "AUTH_MASTER_KEYS": f"a:{KEY}",
    "PUBLIC_URL": "https://pay.example",
    "ALLOWED_HOSTS": "pay.example",
    "MAILER": "file",
}


def faults(environ: dict[str, str]) -> list[str]:
    return [str(fault) for fault in read(environ).faults]


def names(environ: dict[str, str]) -> set[str]:
    return {fault.name for fault in read(environ).faults}


def numbers() -> list[str]:
    return [
        name
        for name, field in Config.model_fields.items()
        if int in (field.annotation, *get_args(field.annotation))
    ]


# --- Values -------------------------------------------------------------------------------------


def test_an_empty_environment_is_a_working_development() -> None:
    """Decision 13: no set-up."""
    config = Config.load({})
    assert (config.environment, config.bind) == ("development", "127.0.0.1:8000")
    assert (config.database_url, config.redis_url) == (None, None)
    assert (config.db_pool_size, config.db_pool_max_waiting) == (8, 16)


def test_flags_start_as_the_specification_says() -> None:
    """Decision 17."""
    assert Config.load({}).features == {
        "FEATURE_LEDGER_ENABLED": False,
        "FEATURE_IDEMPOTENCY_ENABLED": True,
        "FEATURE_DUAL_WRITE_USERS": False,
        "FEATURE_DUAL_WRITE_PAYMENTS": False,
        "FEATURE_ARGON2_ENABLED": True,
        "FEATURE_REFRESH_TOKENS_ENABLED": True,
        "FEATURE_JWKS_ENABLED": True,
        "FEATURE_BREACH_CHECK_ENABLED": False,
        "FEATURE_EMAIL_VERIFICATION_REQUIRED": False,
    }


@pytest.mark.parametrize("text", ["True", "TRUE", "yes", "1", "on", " true", "t"])
def test_a_boolean_is_exactly_true_or_false(text: str) -> None:
    """AG3."""
    assert names({"FEATURE_LEDGER_ENABLED": text}) == {"FEATURE_LEDGER_ENABLED"}


def test_both_booleans_are_taken() -> None:
    """AG3."""
    assert Config.load({"FEATURE_LEDGER_ENABLED": "true"}).feature_ledger_enabled is True
    assert Config.load({"FEATURE_IDEMPOTENCY_ENABLED": "false"}).features[
        "FEATURE_IDEMPOTENCY_ENABLED"
    ] is False  # fmt: skip


@pytest.mark.parametrize(
    "text", ["5.0", "1_000", "+5", "-5", "0x5", "5 ", "\u0665", "1e2", "9" * 5000]
)
def test_a_number_is_digits_only(text: str) -> None:
    """AG3."""
    assert faults({"WEB_THREADS": text}) == [
        "WEB_THREADS: not a whole number in digits only (allowed: 1 to 256)"
    ]


@pytest.mark.parametrize("name", numbers())
def test_every_number_keeps_its_range(name: str) -> None:
    """AG2: the fault says the range; the two ends themselves are in it."""
    low, high = (int(end) for end in allowed(name).split(" to "))
    assert name.upper() in names({name.upper(): str(high + 1)})
    ends = {low, high} if low else {high}
    for end in ends:
        reasons = {f.fault for f in read({name.upper(): str(end)}).faults if f.name == name.upper()}
        assert "not allowed" not in reasons
    value = Config.model_fields[name].default
    assert value is None or "default_factory" in repr(Config.model_fields[name]) or low <= value


def test_an_empty_value_is_unset() -> None:
    """AG4."""
    assert Config.load({"WEB_THREADS": "", "DATABASE_URL": ""}).web_threads == 8


def test_defaults_follow_the_settings_they_name() -> None:
    config = Config.load({"WEB_THREADS": "3", "PORT": "9001"})
    assert (config.db_pool_size, config.db_pool_max_waiting) == (3, 6)
    assert (config.bind, config.public_url) == ("127.0.0.1:9001", "http://127.0.0.1:9001")


def test_port_replaces_the_port_of_bind() -> None:
    assert Config.load({"BIND": "[::1]:8000", "PORT": "81"}).bind == "[::1]:81"


def test_a_path_is_relative_to_the_project_and_not_to_where_one_stands() -> None:
    """AG7: server and command see the same."""
    assert Config.load({"VAR_DIR": "elsewhere"}).var_dir == ROOT / "elsewhere"
    assert Config.load({"VAR_DIR": "/srv/x"}).var_dir == Path("/srv/x")


def test_lists_are_split_at_commas() -> None:
    config = Config.load({"ALLOWED_HOSTS": "a.example, b.example,"})
    assert config.allowed_hosts == ("a.example", "b.example")


def test_a_unix_socket_has_no_port_in_its_url() -> None:
    config = Config.load({"BIND": "unix:/run/s.sock", "TRUSTED_PROXY_HOPS": "1"})
    assert config.public_url == "http://127.0.0.1"


def test_the_log_is_for_people_on_a_terminal_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    assert Config.load({}).log_format == "console"
    monkeypatch.setattr("sys.stderr.isatty", lambda: False)
    assert Config.load({}).log_format == "json"


def test_cpus_are_those_of_the_quota(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The container's, not the host's."""
    quota = tmp_path / "cpu.max"
    monkeypatch.setattr(module, "CGROUP_QUOTA", quota)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)))
    assert module.cpus() == 8
    for text, expected in (("max 100000", 8), ("250000 100000", 2), ("50000 100000", 1)):
        quota.write_text(text, "ascii")
        assert module.cpus() == expected


def test_a_config_is_frozen() -> None:
    """AG1."""
    with pytest.raises(ValidationError):
        Config.load({}).bind = "elsewhere"


# --- Faults -------------------------------------------------------------------------------------


def test_twelve_faults_are_twelve_lines_without_a_value(capsys: pytest.CaptureFixture[str]) -> None:
    """AG2: all in one list, exit 2, no value of any."""
    environ = {
        "ENVIRONMENT": "s3cret-1",
        "BIND": "s3cret-2",
        "AUTH_MASTER_KEYS": "s3cret:3",
        "DATABASE_URL": "mysql://s3cret-4",
        "REDIS_URL": "http://s3cret-5",
        "WEB_THREADS": "s3cret-6",
        "LOG_LEVEL": "s3cret-7",
        "METRICS_TOKEN": "s3cret-8",
        "FEATURE_LEDGER_ENABLED": "s3cret-9",
        "FEATURE_S": "s3cret-10",
        "MIGRATE_DATABASE_URL_FILE": "/s3cret-11",
        "DB_LOCK_TIMEOUT_MS": "59000",
    }
    with pytest.raises(ConfigError) as caught:
        Config.load(environ)
    said = capsys.readouterr().err
    assert caught.value.code == 2
    assert len(caught.value.faults) == len(said.splitlines()) == 12
    assert "s3cret" not in said


def test_a_fault_says_what_is_allowed() -> None:
    """AG2."""
    assert faults({"LOG_LEVEL": "loud"}) == [
        "LOG_LEVEL: not allowed (allowed: debug, info, warning, error)"
    ]


def test_a_fault_does_not_hide_those_of_settings_that_depend_on_it() -> None:
    """AG2: a default that waits for a faulty setting is no fault of its own."""
    assert names({"WEB_THREADS": "x", "BIND": "y", "PORT": "0"}) == {"WEB_THREADS", "BIND", "PORT"}


def test_an_unknown_feature_is_a_fault() -> None:
    """AG5."""
    assert names({"FEATURE_LEDGER_ENABLE": "true"}) == {"FEATURE_LEDGER_ENABLE"}


def test_a_near_miss_is_a_warning_and_no_other_prefix_is_ours(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """AG5: Kubernetes sets REDIS_PORT=tcp://..."""
    Config.load({"DATBASE_URL": "x", "REDIS_PORT": "tcp://10.0.0.1:6379", "PATH": "/bin"})
    assert capsys.readouterr().err.splitlines() == [
        "config: warning: DATBASE_URL is no setting: DATABASE_URL is meant?"
    ]


@pytest.mark.parametrize(
    ("url", "fault"),
    [
        ("http://h", "not a Redis URL"),
        ("redis+cluster://h", "not a list of host:port with commas"),
        ("rediss+sentinel://h:1,/n/0", "not a list of host:port with commas"),
        ("redis+sentinel://h:1,h:2", "without the name that the Sentinels know"),
        ("redis+sentinel://h:1/n/x", "without the name that the Sentinels know"),
    ],
)
def test_redis_urls_that_lead_nowhere_are_refused_with_a_sentence(url: str, fault: str) -> None:
    (said,) = faults({"REDIS_URL": url})
    assert said.startswith(f"REDIS_URL: {fault} (allowed: redis://")


@pytest.mark.parametrize(
    ("url", "wait_ms"),
    [
        ("off", 50),
        ("redis://h:1/0", 50),
        ("unix:///run/v.sock?db=1", 50),
        ("rediss://u:p@h", 250),
        ("redis+sentinel://h:1,h:2/main/0", 50),
        ("rediss+cluster://h:1,[::1]:2", 250),
    ],
)
def test_redis_urls_that_are_spoken(url: str, wait_ms: int) -> None:
    """Operations 2: a TLS handshake takes longer."""
    config = Config.load({"REDIS_URL": url})
    assert config.redis_url is not None
    assert config.redis_url.get_secret_value() == url
    assert (config.redis_timeout_ms, config.redis_connect_timeout_ms) == (wait_ms, wait_ms)


def test_a_ca_file_that_cannot_be_read_stops_the_boot() -> None:
    """OK8: else the first connection would say so."""
    assert names({"REDIS_CA_FILE": "/nowhere.pem"}) == {"REDIS_CA_FILE"}


def test_traces_without_a_collector_stop_the_boot() -> None:
    """OM3, AG2: settings that contradict each other."""
    assert names({"OTEL_ENABLED": "true"}) == {"OTEL_EXPORTER_OTLP_ENDPOINT"}
    assert names({"OTEL_SAMPLE_RATIO": "1.5"}) == {"OTEL_SAMPLE_RATIO"}


@settings(deadline=None)
@example({"REDIS_CA_FILE": "\0"})
@given(st.dictionaries(st.sampled_from([n.upper() for n in Config.model_fields]), st.text()))
def test_no_text_whatever_is_a_crash(environ: dict[str, str]) -> None:
    """AG2: a fault or a value, and a configuration to look at."""
    reading = read(environ)
    assert reading.config.bind
    assert all(fault.name.isupper() for fault in reading.faults)


# --- Files --------------------------------------------------------------------------------------


def test_a_secret_may_stand_in_a_file(tmp_path: Path) -> None:
    """AG4: one newline at its end is none of the value."""
    path = tmp_path / "url"
    path.write_text("postgresql://h/db\n\n", "utf-8")
    reading = read({"DATABASE_URL_FILE": str(path)})
    assert reading.config.database_url == SecretStr("postgresql://h/db\n")
    assert reading.sources["database_url"] == "file"


def test_every_secret_and_url_has_a_twin() -> None:
    """AG4."""
    assert {name.upper() for name in Config.model_fields if has_twin(name)} == {
        "AUTH_MASTER_KEYS",
        "BREACH_CHECK_URL",
        "DATABASE_URL",
        "LEDGER_CHECKPOINT_URL",
        "LEDGER_SEAL_KEY",
        "METRICS_TOKEN",
        "MIGRATE_DATABASE_URL",
        "PUBLIC_URL",
        "REDIS_URL",
        "SMTP_URL",
    }
    assert not is_secret("public_url")


def test_faults_of_files_are_named_after_the_file(tmp_path: Path) -> None:
    """AG4: both set, empty, not readable, not text."""
    empty, binary = tmp_path / "empty", tmp_path / "binary"
    empty.touch()
    binary.write_bytes(b"\xff")
    good = {"DATABASE_URL": "postgresql://h/db"}
    assert faults({**good, "DATABASE_URL_FILE": str(empty)}) == [
        "DATABASE_URL_FILE: DATABASE_URL is set too (allowed: one of them)"
    ]
    assert faults({"REDIS_URL_FILE": str(empty)})[0].startswith("REDIS_URL_FILE: is empty")
    for path in (binary, tmp_path / "absent", tmp_path):
        assert faults({"REDIS_URL_FILE": str(path)}) == [
            "REDIS_URL_FILE: cannot be read (allowed: a readable UTF-8 file)"
        ]


def test_the_environment_wins_over_the_file_of_the_root(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """AG7."""
    (tmp_path / ".env").write_text("WEB_THREADS=5\nLOG_LEVEL='error'\nBIND=$X\nJUST_A_NAME\n")
    monkeypatch.setattr(module, "ROOT", tmp_path)
    monkeypatch.setenv("LOG_LEVEL", "debug")
    monkeypatch.setenv("BIND", "127.0.0.1:1")
    reading = read()
    assert (reading.config.web_threads, reading.config.log_level) == (5, "debug")
    assert (reading.sources["web_threads"], reading.sources["log_level"]) == (".env", "environment")


# --- Rules over several settings ----------------------------------------------------------------


def test_each_wait_ends_before_the_one_around_it() -> None:
    """AC2: lock < statement < transaction < deadline < proxy < gunicorn, else no boot."""
    ordered = ["DB_LOCK_TIMEOUT_MS", "DB_STATEMENT_TIMEOUT_MS", "DB_TRANSACTION_TIMEOUT_MS"]
    for low, high in zip(ordered, [*ordered[1:], "REQUEST_DEADLINE_MS"], strict=True):
        same = {low: "2000", high: "2000", "IDEMPOTENCY_WAIT_MS": "0"}
        assert low in names(same)
    assert names({"REQUEST_DEADLINE_MS": "7000"}) == {"REQUEST_DEADLINE_MS"}
    assert module.PROXY_READ_TIMEOUT_MS < module.GUNICORN_TIMEOUT_S * 1000


def test_a_wait_for_another_is_no_longer_than_a_lock_wait() -> None:
    assert names({"IDEMPOTENCY_WAIT_MS": "1001"}) == {"IDEMPOTENCY_WAIT_MS"}


def test_a_breaker_cannot_begin_above_its_end() -> None:
    assert names({"REDIS_BREAKER_OPEN_MS": "30001"}) == {"REDIS_BREAKER_OPEN_MS"}


def test_a_unix_socket_needs_a_proxy_and_takes_no_port() -> None:
    """OR5: with 0 hops all clients would be one address."""
    assert names({"BIND": "unix:/s", "PORT": "80"}) == {"PORT", "TRUSTED_PROXY_HOPS"}
    assert names({"BIND": "unix:/s", "TRUSTED_PROXY_HOPS": "1"}) == set()


@pytest.mark.parametrize("bind", ["localhost", "1.2.3.4:", "1.2.3.4:0", "1.2.3.4:65536", "unix:"])
def test_a_bind_names_a_place(bind: str) -> None:
    assert names({"BIND": bind}) == {"BIND"}


# --- Production ---------------------------------------------------------------------------------


def test_production_needs_what_development_makes() -> None:
    """OE9 and the auth page: no embedded server, no made key, no guessed address."""
    assert names({"ENVIRONMENT": "production"}) == {
        "DATABASE_URL",
        "AUTH_MASTER_KEYS",
        "PUBLIC_URL",
        "ALLOWED_HOSTS",
        "MAILER",
    }


def test_production_verifies_addresses_by_mail_that_arrives() -> None:
    """A50: FEATURE_EMAIL_VERIFICATION_REQUIRED needs smtp there, and smtp needs its server."""
    wanted = {**PRODUCTION, "FEATURE_EMAIL_VERIFICATION_REQUIRED": "true"}
    assert names(wanted) == {"MAILER"}
    assert names({**wanted, "MAILER": "smtp"}) == {"SMTP_URL"}
    assert names({**wanted, "MAILER": "smtp", "SMTP_URL": "smtps://u:p@mail"}) == set()


@pytest.mark.parametrize("url", ["http://mail", "smtp:", "mail.example.org:25", "smtp://"])
def test_an_smtp_url_names_its_server(url: str) -> None:
    assert names({"SMTP_URL": url}) == {"SMTP_URL"}


@pytest.mark.parametrize(
    ("sender", "is_one"),
    [
        ("no-reply@example.org", True),
        ("Our Shop <no-reply@example.org>", True),
        ("a@b\nBcc: c@d", False),
        ("a@b, c@d", False),
        ("nobody", False),
    ],
)
def test_a_sender_is_one_address(sender: str, *, is_one: bool) -> None:
    """A51: no other header and no second address."""
    assert names({"MAIL_FROM": sender}) == (set() if is_one else {"MAIL_FROM"})


def test_links_lead_to_the_service_unless_told() -> None:
    """A51: never to the Host header."""
    assert Config.load(PRODUCTION).mail_link_base == "https://pay.example"
    base = "https://shop.example/account"
    assert Config.load({**PRODUCTION, "MAIL_LINK_BASE": base}).mail_link_base == base


def test_a_session_is_not_idle_for_longer_than_it_lives() -> None:
    """A34."""
    assert names({"REFRESH_IDLE_S": "100", "REFRESH_ABSOLUTE_S": "99"}) == {"REFRESH_IDLE_S"}


@pytest.mark.parametrize(
    ("memory_kib", "time_cost", "is_safe"),
    [("65536", "3", True), ("47104", "1", True), ("8192", "5", True), ("8192", "4", False)],
)
def test_production_hashes_no_weaker_than_is_advised(
    memory_kib: str, time_cost: str, is_safe: bool
) -> None:
    """A16: the weakest pair that is advised anywhere is 7 MiB by 5 passes."""
    given = {"ARGON2_MEMORY_KIB": memory_kib, "ARGON2_TIME_COST": time_cost}
    assert names({**PRODUCTION, **given}) == (set() if is_safe else {"ARGON2_MEMORY_KIB"})
    assert names(given) == set()


def test_workers_share_half_the_cpus_for_hashing(monkeypatch: pytest.MonkeyPatch) -> None:
    """A24: at least one each."""
    monkeypatch.setattr("config.cpus", lambda: 16)
    assert Config.load({"WEB_CONCURRENCY": "2"}).argon2_slots == 4
    assert Config.load({"WEB_CONCURRENCY": "16"}).argon2_slots == 1


def test_production_runs_without_redis_unless_told() -> None:
    config = Config.load(PRODUCTION)
    assert config.redis_url == SecretStr("off")


@pytest.mark.parametrize(
    ("url", "is_safe"),
    [
        ("postgresql://u:p@db/app", False),
        ("postgresql://u:p@db/app?sslmode=require&sslrootcert=/ca", False),
        ("postgresql://u:p@db/app?sslmode=verify-full", False),
        ("postgresql://u:p@127.0.0.1,db:5433/app", False),
        ("postgresql://u:p@db/app?sslmode=verify-full&sslrootcert=/ca", True),
        ("postgresql://u:p@127.0.0.1:5432/app", True),
        ("postgresql://u:p@localhost,[::1]:5433/app", True),
        ("postgresql:///app", True),
        ("postgresql://u:p@/app?host=/run/postgresql", True),
        ("postgresql://u:p@%2Frun%2Fpostgresql/app", True),
        ("postgresql://u:p@/app?host=db", False),
    ],
)
def test_production_checks_the_database_peer_unless_it_is_local(url: str, is_safe: bool) -> None:
    """OD2."""
    for name in ("DATABASE_URL", "MIGRATE_DATABASE_URL"):
        assert names({**PRODUCTION, name: url}) == (set() if is_safe else {name})


@pytest.mark.parametrize(
    ("url", "is_safe"),
    [
        ("redis://cache", False),
        ("redis://127.0.0.1", True),
        ("unix:///run/v.sock", True),
        ("rediss://cache", True),
        ("redis+cluster://127.0.0.1:1,cache:2", False),
        ("redis+sentinel://127.0.0.1:1,[::1]:2/main", True),
        ("rediss+sentinel://cache:1/main", True),
    ],
)
def test_production_keeps_redis_local_without_tls(url: str, is_safe: bool) -> None:
    """OD2."""
    assert names({**PRODUCTION, "REDIS_URL": url}) == (set() if is_safe else {"REDIS_URL"})


# --- Master keys --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text", ["", "a", f"a:{KEY[:-2]}", f"a:{KEY}x", f"a:{KEY},a:{KEY}", f"a b:{KEY}", "a:!!", "a:é"]
)
def test_a_master_key_is_an_id_and_32_bytes(text: str) -> None:
    assert names({"AUTH_MASTER_KEYS": text or ","}) == {"AUTH_MASTER_KEYS"}


def test_seal_keys_are_32_bytes_each() -> None:
    """LEDGER_SEAL_KEY: with commas, all of them sign; public halves of former ones beside them."""
    first, second = bytes(32), bytes(range(32))
    texts = [base64.b64encode(key).decode() for key in (first, second)]
    config = Config.load({"LEDGER_SEAL_KEY": ",".join(texts), "LEDGER_SEAL_PUBLIC_KEYS": texts[0]})
    assert (config.seal_seeds, config.seal_former_keys) == ((first, second), (first,))
    assert (Config.load({}).seal_seeds, Config.load({}).seal_former_keys) == ((), ())


@pytest.mark.parametrize("text", ["x", "AAAA", "A" * 43, f"{'A' * 43}=,{'A' * 43}=", "ä"])
def test_what_is_no_seal_key_is_refused(text: str) -> None:
    """AG2: too short, twice the same, no base64."""
    for name in ("LEDGER_SEAL_KEY", "LEDGER_SEAL_PUBLIC_KEYS"):
        (fault,) = read({name: text}).faults
        assert fault.fault == "not a list of different keys of 32 bytes in base64"


def test_the_log_is_named_after_the_public_host() -> None:
    """LM5: with its port, if it has one."""
    assert Config.load({"PUBLIC_URL": "https://pay.example.com"}).ledger_origin == "pay.example.com"
    assert Config.load({}).ledger_origin == "127.0.0.1:8000"
    assert read({"LEDGER_ORIGIN": "a b"}).faults


def test_subkeys_keep_the_order_of_the_master_keys() -> None:
    """The first is for new work, the others for what is signed already."""
    other = base64.urlsafe_b64encode(bytes(32)).decode()
    config = Config.load({"AUTH_MASTER_KEYS": f"new:{KEY}, old:{other}"})
    subkeys = config.subkeys("cursor")
    assert list(subkeys) == ["new", "old"]
    assert subkeys["new"] == hkdf(bytes(range(32)), "cursor")
    assert len({*subkeys.values(), *config.subkeys("idempotency").values()}) == 4


def test_hkdf_is_that_of_rfc_5869() -> None:
    """RFC 5869, test case 3: no salt, no info; its first 32 bytes."""
    expected = "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d"
    assert hkdf(b"\x0b" * 22, "").hex() == expected


def test_in_development_one_master_key_is_made_once(tmp_path: Path) -> None:
    """Eight processes at once agree, and nobody else can read it."""
    config = Config.load({"VAR_DIR": str(tmp_path / "var")})
    with ThreadPoolExecutor(8) as threads:
        made = list(threads.map(lambda _: config.subkeys("cursor"), range(8)))
    assert all(subkeys == made[0] for subkeys in made)
    (kept,) = (tmp_path / "var" / "secrets").iterdir()
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    assert stat.S_IMODE(kept.parent.stat().st_mode) == 0o700


def test_who_comes_second_takes_the_first_ones_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both saw no file; the link is made once."""
    config = Config.load({"VAR_DIR": str(tmp_path)})
    first = config.subkeys("cursor")
    monkeypatch.setattr(Path, "exists", lambda _: False)
    assert config.subkeys("cursor") == first
    assert len(list((tmp_path / "secrets").iterdir())) == 1


# --- Boot ---------------------------------------------------------------------------------------


def test_a_faulty_boot_exits_with_2_and_one_line_a_fault() -> None:
    """AG2, as gunicorn and the flask command see it."""
    done = subprocess.run(
        [sys.executable, "-c", "from config import Config; Config.load()"],
        cwd=ROOT,
        env={**os.environ, "WEB_THREADS": "many", "LOG_LEVEL": "loud"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert len(done.stderr.splitlines()) == 2


def test_every_setting_says_what_it_is() -> None:
    """AG1: type, default, range, secret or not, a line of text."""
    for name, field in Config.model_fields.items():
        assert field.description, name
        assert field.description.endswith("."), name
        assert allowed(name), name
