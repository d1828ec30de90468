# ruff: noqa: S603 - it starts programs that it names itself.
"""The shop moves to Strongroom, step by step, while its customers go on: `make legacy-tour`.

It starts the service, its worker and the shop's traffic as processes of their own, in a folder that
is deleted afterwards, and goes through all five phases and back one. With --crashes it also kills
workers, the mirror, the shop's program and the database, locks the shop's file, and takes more
steps forward and back, while customers pay all the time; at the end both stores say the same,
every payment that was acknowledged is there, and nobody is locked out.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import json
import os
import random
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
PATIENCE_S = float(os.environ.get("TOUR_PATIENCE_S", "300"))
RETRY_S = 0.5
SHOWN_MAX = 2_000
UNFINISHED, FINDING = 4, 3
DOMAINS = ("users", "payments")
NEW_READS = 4
PAUSE_S = 0.2
# From phase 4 there and back: what is tried beside the one step of the tour.
WAYS = (
    ("rollback", "advance"),
    ("rollback", "rollback", "advance", "advance"),
    ("advance", "rollback"),
    ("advance", "rollback", "rollback", "advance"),
)


class TourFailed(Exception):
    """Something is not as the tour promises."""


def say(text: str) -> None:
    """Print a line of the tour."""
    print(text, flush=True)  # noqa: T201 - this is a program.


def until(what: str, holds: Callable[[], bool]) -> None:
    """Wait until something holds."""
    end = time.monotonic() + PATIENCE_S
    while not holds():
        if time.monotonic() > end:
            raise TourFailed(f"{what}: not within {PATIENCE_S} s")
        time.sleep(RETRY_S)


def free_port() -> int:
    """Return a port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Tour:
    """Everything that runs, and what was acknowledged so far."""

    def __init__(self, folder: Path, customers: int, seed: int) -> None:
        self.folder = folder
        self.shop = folder / "shop.db"
        self.draw = random.Random(seed)  # noqa: S311 - no secret.
        self.customers = customers
        self.port = free_port()
        self.paid: dict[str, tuple[int, int]] = {}  # Id to amount and payer.
        self.tokens: dict[int, str] = {}
        self.accidents: Counter[str] = Counter()
        self.service: Any = None
        self.programs: dict[str, int] = {}  # By name, the process of those that are kept running.
        config = (HERE / "legacy.toml").read_text("utf-8")
        (folder / "legacy.toml").write_text(config.replace("shop.db", str(self.shop)), "utf-8")
        self.environ = {
            **os.environ,
            "BIND": f"127.0.0.1:{self.port}",
            "VAR_DIR": str(folder / "var"),
            "FLASK_SKIP_DOTENV": "1",
            "LOG_LEVEL": "error",
            "FEATURE_LEDGER_ENABLED": "true",
            "FEATURE_DUAL_WRITE_USERS": "true",
            "FEATURE_DUAL_WRITE_PAYMENTS": "true",
            "LEGACY_CONFIG": str(folder / "legacy.toml"),
            # A tour has no day to wait, and no thousand readers.
            "LEGACY_SOAK_S": "0",
            "LEGACY_SHADOW_MIN_READS": "0",
            "LEGACY_GRACE_MS": "300",
            "LEGACY_SWITCH_TIMEOUT_MS": "3500",
        }

    # --- Processes ------------------------------------------------------------------------------

    @contextlib.contextmanager
    def serving(self) -> Iterator[subprocess.Popen[bytes]]:
        """Run the service, with PostgreSQL, Valkey and a worker, as `make run` does."""
        with (self.folder / "service.log").open("ab") as log:
            command = [sys.executable, "-m", "commands.serve"]
            service = subprocess.Popen(command, cwd=ROOT, env=self.environ, stdout=log, stderr=log)
        try:
            until("the service answers", lambda: self.ask("GET", "/livez")[0] > 0)
            yield service
        finally:
            service.terminate()
            service.wait(PATIENCE_S)

    @contextlib.contextmanager
    def mirroring(self) -> Iterator[None]:
        """Run a mirror."""
        with self._kept("mirror", "-m", "flask", "legacy", "mirror"):
            yield

    @contextlib.contextmanager
    def shopping(self, per_s: int) -> Iterator[None]:
        """Let the shop's customers go on, until it ends."""
        program = [str(HERE / "shop.py"), "--file", str(self.shop)]
        program += ["--seed", str(self.draw.randrange(1_000_000))]
        with self._kept(
            "shop", *program, "traffic", "--tell", "--operations", "9999", "--per-s", str(per_s)
        ):
            yield

    @contextlib.contextmanager
    def _kept(self, name: str, *words: str) -> Iterator[None]:
        """Run a program, and start it again whenever it has ended."""
        stop = threading.Event()

        def keep() -> None:
            with (self.folder / f"{name}.log").open("ab") as log:
                while not stop.is_set():
                    child = subprocess.Popen(
                        [sys.executable, *words], cwd=ROOT, env=self.environ, stdout=log, stderr=log
                    )
                    self.programs[name] = child.pid
                    while child.poll() is None and not stop.wait(RETRY_S):
                        pass
                    del self.programs[name]
                    child.terminate()
                    child.wait(PATIENCE_S)

        with _beside(keep, stop):
            yield

    # --- What a guide does ----------------------------------------------------------------------

    def flask(self, *words: str, allowed: tuple[int, ...] = (0,)) -> subprocess.CompletedProcess:  # type: ignore[type-arg]
        """Run a command as an operator would, and show it."""
        command = [sys.executable, "-m", "flask", *words]
        done = subprocess.run(
            command, cwd=ROOT, env=self.environ, capture_output=True, text=True, check=False
        )
        if done.returncode not in {*allowed, UNFINISHED}:
            raise TourFailed(f"{words}: exit {done.returncode}: {done.stdout}{done.stderr}")
        return done

    def show(self, *words: str, allowed: tuple[int, ...] = (0,)) -> str:
        """Run a command until it gets through, and print it with what it said."""
        end = time.monotonic() + PATIENCE_S
        while (done := self.flask(*words, allowed=(*allowed, FINDING))).returncode not in allowed:
            if time.monotonic() > end:
                raise TourFailed(f"{words}: exit {done.returncode}: {done.stdout}{done.stderr}")
            time.sleep(RETRY_S)
        say("$ flask " + " ".join(f'"{word}"' if " " in word else word for word in words))
        said = str(done.stdout)
        say(said if len(said) < SHOWN_MAX else said[:300] + "...\n")
        return said

    def move(self, how: str, *domains: str) -> None:
        """Take one step with each domain: as often as it needs, exactly once."""
        for domain in domains:
            before = self.phase(domain)
            words = ("legacy", how, domain, "--reason", "tour")
            waived = ("--waive-gate", "shadow") if how == "advance" else ()
            end = time.monotonic() + PATIENCE_S
            while True:
                done = self.flask(*words, *waived, allowed=(0, FINDING))
                if done.returncode == 0:
                    say(f"$ flask {' '.join(words)}\n{done.stdout}")
                    break
                # An accident may have come after the step was taken.
                if done.returncode == UNFINISHED and self.phase(domain) != before:
                    break
                if time.monotonic() > end:
                    raise TourFailed(f"{words}: {done.stdout}{done.stderr}")
                self._open_gates(domain, done.stdout + done.stderr)

    def _open_gates(self, domain: str, refusal: str) -> None:
        """Do what a refusal asks for, or wait."""
        if "backfill: " in refusal:
            self.flask("legacy", "backfill", domain, allowed=(0, FINDING))
        elif "digest: " in refusal:
            self.flask("verify-drift", domain, allowed=(0, FINDING))
        else:
            time.sleep(RETRY_S)

    def phase(self, domain: str) -> int:
        """Return in which phase a domain is."""
        found: list[int] = []

        def answered() -> bool:
            done = self.flask("legacy", "status", "--json", allowed=(0, 1))
            if done.returncode == 0:
                domains = json.loads(done.stdout)["domains"]
                found.extend(each["phase"] for each in domains if each["domain"] == domain)
            return bool(found)

        until("status", answered)
        return found[0]

    # --- The service, as its clients see it -----------------------------------------------------

    def ask(
        self, method: str, path: str, body: Any = None, token: str = "", key: str = ""
    ) -> tuple[int, Any]:
        """Return status and answer; 0: nobody answered."""
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        headers |= {"Content-Type": "application/json"} if body is not None else {}
        headers |= {"Idempotency-Key": key} if key else {}
        conn = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            conn.request(method, path, None if body is None else json.dumps(body), headers)
            answer = conn.getresponse()
            read = answer.read()
            return answer.status, json.loads(read) if read else {}
        except (OSError, http.client.HTTPException, ValueError):
            return 0, {}
        finally:
            conn.close()

    def log_in(self, number: int) -> str | None:
        """Return a token of a customer, by the password that the shop knows; None: refused."""
        body = {"email": f"customer{number}@example.org", "password": f"password-{number}"}
        found: list[str | None] = []

        def answered() -> bool:
            status, answer = self.ask("POST", "/v1/auth/login", body)
            if status and not answer.get("retryable"):
                found.append(answer.get("access_token"))
            return bool(found)

        until("a log-in is answered", answered)
        return found[0]

    def ask_as(
        self, number: int, method: str, path: str, body: Any = None, key: str = ""
    ) -> tuple[int, Any]:
        """Ask as a customer, who logs in again if the shop has set a new password meanwhile."""
        token = self.tokens.get(number) or self._token(number)
        status, answer = self.ask(method, path, body, token, key)
        if status != HTTPStatus.UNAUTHORIZED:
            return status, answer
        return self.ask(method, path, body, self._token(number), key)

    def pay(self, number: int) -> bool:
        """Pay as a customer, asking again with the same key until there is an answer that stays.

        False: the shop decides, and our API says so.
        """
        amount, key = self.draw.randrange(100, 20_000), f"tour-{self.draw.getrandbits(64):x}"
        body = {"amount_minor": amount, "currency": "EUR"}
        found: list[tuple[int, Any]] = []

        def answered() -> bool:
            status, answer = self.ask_as(number, "POST", "/v1/payments", body, key)
            if status and not answer.get("retryable"):
                found.append((status, answer))
            return bool(found)

        until("a payment is answered", answered)
        status, answer = found[0]
        if status in {200, 201}:
            self.paid[answer["id"]] = (amount, number)
        elif answer.get("code") != "domain_follows_legacy":
            raise TourFailed(f"a payment: {status} {answer}")
        return status in {200, 201}

    @contextlib.contextmanager
    def paying(self) -> Iterator[None]:
        """Let a customer of the service pay all the time, whoever decides."""
        stop = threading.Event()

        def pay() -> None:
            while not stop.wait(PAUSE_S):
                self.pay(1)

        with _beside(pay, stop):
            yield

    # --- Accidents ------------------------------------------------------------------------------

    def accident(self) -> None:
        """Let one of them happen."""
        accidents = [
            *(self.kill_web, self.kill_worker, self.kill_mirror, self.kill_shop, self.lock_shop),
            *(self.kill_backend, self.kill_database),
        ]
        chosen = self.draw.choice(accidents)
        self.accidents[chosen.__name__] += 1
        say(f"  accident: {chosen.__name__}")
        chosen()

    def kill_web(self) -> None:
        """End by kill -9 one of gunicorn's workers."""
        masters = self._started("gunicorn")
        self._kill_one_of([pid for master in masters for pid in _children(master)])

    def kill_worker(self) -> None:
        """End by kill -9 the worker that does jobs."""
        self._kill_one_of(self._started("worker"))

    def kill_mirror(self) -> None:
        """End by kill -9 in the middle of whatever it does."""
        self._kill_one_of([pid for name, pid in [*self.programs.items()] if name == "mirror"])

    def kill_shop(self) -> None:
        """End by kill -9 the shop's program, if it runs."""
        self._kill_one_of([pid for name, pid in [*self.programs.items()] if name == "shop"])

    def kill_backend(self) -> None:
        """End by kill -9 a backend: PostgreSQL ends all the others too, and recovers."""
        self._kill_one_of([pid for master in self._postmaster() for pid in _children(master)])

    def kill_database(self) -> None:
        """End by kill -9 the first process of PostgreSQL: somebody has to start it again."""
        self._kill_one_of(self._postmaster())

    def lock_shop(self) -> None:
        """Hold the shop's file longer than anybody waits for it."""
        with contextlib.closing(sqlite3.connect(self.shop, timeout=30)) as conn:
            # A write that is begun and never ended: closing takes it back.
            conn.execute("DELETE FROM strongroom_queue WHERE false")
            time.sleep(2)

    def _started(self, name: str) -> list[int]:
        return [pid for pid in _children(self.service.pid) if name in _command(pid)]

    def _postmaster(self) -> list[int]:
        """Return its pid; none while it is being started."""
        found = [*(self.folder / "var" / "pg").glob("*/postmaster.pid")]
        try:
            return [int(path.read_text().split()[0]) for path in found]
        except (OSError, IndexError):
            return []

    def _kill_one_of(self, pids: list[int]) -> None:
        if pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.draw.choice(pids), signal.SIGKILL)

    # --- The way --------------------------------------------------------------------------------

    def prepare(self) -> None:
        """Fill the shop; give it what `prepare --sql` says; attach both domains."""
        shop = [sys.executable, str(HERE / "shop.py"), "--file", str(self.shop)]
        subprocess.run([*shop, "seed", "--customers", str(self.customers)], check=True)
        statements = self.show("legacy", "prepare", "--sql")
        with contextlib.closing(sqlite3.connect(self.shop)) as conn:
            conn.executescript(statements)
        for domain in DOMAINS:
            self.show("legacy", "check", domain)
            self.show("legacy", "attach", domain, "--resume", "--reason", "tour")

    def to_new(self) -> None:
        """Go from legacy only to new reads, under traffic."""
        with self.shopping(20):
            self.move("advance", *DOMAINS)
            for domain in DOMAINS:
                self.show("legacy", "backfill", domain)
            self.move("advance", *DOMAINS)
            self.show("verify-drift")
            self.move("advance", *DOMAINS)
            say("The shop's own program is shut out now:")
            until("the shop is refused", lambda: self._refusal() != "")
            say(self._refusal() + "\n")

    def _refusal(self) -> str:
        lines = (self.folder / "shop.log").read_text("utf-8").splitlines()
        return next((line for line in lines if "fenced" in line), "")

    def use_new(self, payments: int) -> None:
        """Customers log in with the shop's passwords, and pay at the service."""
        payers = range(1, 1 + min(5, self.customers))
        made = [self.pay(payers[number % len(payers)]) for number in range(payments)]
        if not all(made):
            raise TourFailed("new decides, and a payment was refused")
        say(f"{len(payers)} customers logged in, {payments} payments were made by the service.\n")

    def _token(self, number: int) -> str:
        token = self.log_in(number)
        if token is None:
            raise TourFailed(f"customer {number} is locked out")
        self.tokens[number] = token
        return token

    def check(self) -> None:
        """Both stores say the same, what was acknowledged is there, nobody is locked out."""
        self.show("verify-drift")
        for payment_id, (amount, number) in self.paid.items():
            found = self._read(number, f"/v1/payments/{payment_id}")
            if found.get("amount_minor") != amount:
                raise TourFailed(f"payment {payment_id}: {found}")
        for number in range(1, self.customers + 1):
            self._token(number)
        say(f"{len(self.paid)} payments are there, {self.customers} customers get in.\n")
        self._check_shop()

    def _check_shop(self) -> None:
        """Everything that the shop told its customers is there, as the same amount."""
        lines = (self.folder / "shop.log").read_text("utf-8").splitlines()
        told = [line.split()[1:] for line in lines if line.startswith("payment ")]
        with contextlib.closing(sqlite3.connect(self.shop)) as conn:
            amounts = dict(conn.execute("SELECT id, amount FROM payments").fetchall())
        for payment_id, cents in told:
            if amounts.get(int(payment_id), "").replace(".", "").lstrip("0") != cents:
                raise TourFailed(f"payment {payment_id} of the shop: not {cents} cents")
        say(f"{len(told)} payments of the shop are there.\n")

    def _read(self, number: int, path: str) -> Any:
        found: list[Any] = []

        def answered() -> bool:
            status, answer = self.ask_as(number, "GET", path)
            found[:] = [answer] if status and not answer.get("retryable") else []
            return bool(found)

        until("a payment is read", answered)
        return found[0]

    def guided(self, crashes: int) -> None:
        """Go all the way, back one, and on."""
        with self.serving() as self.service:
            self.prepare()
            with self.mirroring(), self._accidents(crashes):
                self.to_new()
                self.use_new(20)
                say("One step back: the shop decides again, with all that was written since.\n")
                self.move("rollback", "payments", "users")
                with self.shopping(20):
                    self.show("legacy", "status")
                    self.show("verify-drift")
                self.move("advance", *DOMAINS)
                self.use_new(20)
                if crashes:
                    self.wander()
            with self.mirroring():
                self.check()
                if self.phase("users") == NEW_READS:
                    self.move("advance", *DOMAINS)
            self.show("legacy", "status")

    def wander(self) -> None:
        """Take steps there and back, while both programs are in use."""
        say("Steps there and back:\n")
        with self.paying(), self.shopping(20):
            for way in self.draw.sample(WAYS, 2):
                for how in way:
                    domains = DOMAINS if how == "advance" else DOMAINS[::-1]
                    self.move(how, *domains)

    @contextlib.contextmanager
    def _accidents(self, crashes: int) -> Iterator[None]:
        stop = threading.Event()

        def happen() -> None:
            for _ in range(crashes):
                if stop.wait(self.draw.uniform(4, 15)):
                    return
                self.accident()

        with _beside(happen, stop):
            yield


@contextlib.contextmanager
def _beside(work: Callable[[], None], stop: threading.Event) -> Iterator[None]:
    """Do something on a thread until `stop` is set; what it raises is raised here."""
    with ThreadPoolExecutor(max_workers=1) as threads:
        doing = threads.submit(work)
        try:
            yield
        finally:
            stop.set()
        doing.result()


def _children(pid: int) -> list[int]:
    try:
        return [int(p) for p in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


def _command(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text()
    except OSError:
        return ""


def main() -> int:
    """Take the tour; the folder stays if it fails."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--customers", type=int, default=50)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--crashes", type=int, default=0)
    given = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="strongroom-tour-"))
    say(f"seed {given.seed}, {given.crashes} accidents, in {folder}\n")
    try:
        tour = Tour(folder, given.customers, given.seed)
        tour.guided(given.crashes)
    except TourFailed as failed:
        say(f"FAILED: {failed}. {folder} is kept.")
        return 1
    if given.crashes:
        say(f"accidents: {json.dumps(tour.accidents)}")
    shutil.rmtree(folder, ignore_errors=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
