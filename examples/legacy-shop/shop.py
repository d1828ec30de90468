"""A small shop with a store of its own: SQLite, bcrypt passwords, users and payments.

It knows nothing of Strongroom. `python shop.py` lists its commands; README.md is the tour.
"""

from __future__ import annotations

import argparse
import json
import random
import sqlite3
import sys
import time
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import bcrypt

if TYPE_CHECKING:
    from collections.abc import Iterator

SCHEMA = """
CREATE TABLE customers (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    email TEXT NOT NULL UNIQUE COLLATE NOCASE,
    password TEXT NOT NULL,
    full_name TEXT,
    is_active INTEGER NOT NULL DEFAULT 1,
    newsletter INTEGER NOT NULL DEFAULT 0,
    created_at TEXT NOT NULL,
    updated_at TEXT NOT NULL
);
CREATE TABLE payments (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    customer INTEGER NOT NULL REFERENCES customers (id),
    amount TEXT NOT NULL,
    refunded_cents INTEGER NOT NULL DEFAULT 0,
    currency TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('open', 'paid', 'part_refunded', 'refunded', 'cancelled')),
    note TEXT,
    created_at TEXT NOT NULL
);
CREATE INDEX payments_customer ON payments (customer);
"""
NAMES = ("Ada", "Bea", "Carl", "Frieda", "Grüße-Gül", "Hồng", "Jürgen", "Κώστας", "Łucja", "Ñuño")
COST = 4  # Of bcrypt: a real shop has 12, and a seed of 1,000 customers would take minutes.
# What customers do, and how often of a hundred times.
ACTS = {"new customer": 10, "renamed": 10, "password": 5, "payment": 35, "settled": 40}
STATES = ("paid", "paid", "part_refunded", "refunded", "cancelled")


def now() -> str:
    """Return the time as the shop writes it: UTC, whole seconds."""
    return datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S")


class Shop:
    """The program's own use of its tables; every method is one transaction."""

    def __init__(self, path: str) -> None:
        self._conn = sqlite3.connect(path, timeout=5)
        self._conn.execute("PRAGMA journal_mode = WAL")
        self._conn.execute("PRAGMA foreign_keys = ON")

    def close(self) -> None:
        """Close the file."""
        self._conn.close()

    def make_tables(self) -> None:
        """Create both tables in an empty file."""
        self._conn.executescript(SCHEMA)

    @contextmanager
    def batch(self) -> Iterator[None]:
        """Commit all that is done in the block together."""
        with self._conn:
            yield

    def sign_up(self, email: str, password: str, name: str) -> int:
        """Add a customer; return the id."""
        hashed = bcrypt.hashpw(password.encode(), bcrypt.gensalt(COST)).decode()
        return self._insert(
            "INSERT INTO customers (email, password, full_name, created_at, updated_at)"
            " VALUES (?, ?, ?, ?, ?)",
            *(email, hashed, name, now(), now()),
        )

    def log_in(self, email: str, password: str) -> bool:
        """Tell whether the password is the customer's."""
        query = "SELECT password FROM customers WHERE email = ? AND is_active"
        row = self._conn.execute(query, (email,)).fetchone()
        return row is not None and bcrypt.checkpw(password.encode(), row[0].encode())

    def change_password(self, email: str, password: str) -> None:
        """Set a new password."""
        hashed = bcrypt.hashpw(password.encode(), bcrypt.gensalt(COST)).decode()
        self._run(
            "UPDATE customers SET password = ?, updated_at = ? WHERE email = ?",
            *(hashed, now(), email),
        )

    def rename(self, customer: int, name: str) -> None:
        """Change a customer's name."""
        self._run(
            "UPDATE customers SET full_name = ?, updated_at = ? WHERE id = ?",
            *(name, now(), customer),
        )

    def order(self, customer: int, cents: int, currency: str) -> int:
        """Add an open payment; return its id."""
        amount = f"{cents // 100}.{cents % 100:02}"
        return self._insert(
            "INSERT INTO payments (customer, amount, currency, state, created_at)"
            " VALUES (?, ?, ?, 'open', ?)",
            *(customer, amount, currency, now()),
        )

    def settle(self, payment_id: int, state: str) -> bool:
        """Pay or cancel an open payment, or refund half or all of a paid one; False: it was not."""
        before = "paid" if "refunded" in state else "open"
        share = {"refunded": 1.0, "part_refunded": 0.5}.get(state, 0.0)
        changed = self._run(
            "UPDATE payments SET state = ?, refunded_cents ="
            " CAST(CAST(replace(amount, '.', '') AS INTEGER) * ? AS INTEGER)"
            " WHERE id = ? AND state = ?",
            *(state, share, payment_id, before),
        )
        return changed == 1

    def highest(self, table: str) -> int:
        """Return the highest id of `customers` or `payments`, 0 if there is none."""
        ((found,),) = self._conn.execute(f"SELECT coalesce(max(id), 0) FROM {table}").fetchall()
        return int(found)

    def stats(self) -> dict[str, object]:
        """Return what the shop holds."""
        states = self._conn.execute(
            "SELECT state, count(*), sum(CAST(replace(amount, '.', '') AS INTEGER)) FROM payments"
            " GROUP BY state ORDER BY state"
        ).fetchall()
        customers = self._conn.execute("SELECT count(*), sum(is_active) FROM customers").fetchone()
        return {
            "customers": customers[0],
            "active": customers[1] or 0,
            "payments": {state: {"count": count, "cents": cents} for state, count, cents in states},
        }

    def _insert(self, statement: str, *values: object) -> int:
        if self._conn.in_transaction:
            return int(self._conn.execute(statement, values).lastrowid or 0)
        with self._conn:
            return int(self._conn.execute(statement, values).lastrowid or 0)

    def _run(self, statement: str, *values: object) -> int:
        with self._conn:
            return self._conn.execute(statement, values).rowcount


# --- Seed and traffic ---------------------------------------------------------------------------


def seed(shop: Shop, customers: int, draw: random.Random) -> None:
    """Fill an empty shop: customers, and three payments for each of them."""
    shop.make_tables()
    with shop.batch():
        for number in range(1, customers + 1):
            name = draw.choice(NAMES)
            shop.sign_up(f"customer{number}@example.org", f"password-{number}", name)
    for number in range(1, customers + 1):
        for _ in range(3):
            payment_id = shop.order(number, draw.randrange(2, 20_000), draw.choice(["EUR", "USD"]))
            act_on_payment(shop, payment_id, draw)


def act_on_payment(shop: Shop, payment_id: int, draw: random.Random) -> bool:
    """Do one thing with a payment, if its state allows it."""
    return shop.settle(payment_id, draw.choice(STATES))


def act(shop: Shop, draw: random.Random, *, tells: bool = False) -> str:
    """Do one thing that customers do; return which. `tells`: print payments once they are kept."""
    customer = draw.randint(1, shop.highest("customers"))
    (what,) = draw.choices([*ACTS], [*ACTS.values()])
    if what == "new customer":
        number = shop.highest("customers") + 1
        shop.sign_up(f"customer{number}@example.org", f"password-{number}", draw.choice(NAMES))
    elif what == "renamed":
        shop.rename(customer, draw.choice(NAMES))
    elif what == "password":
        shop.change_password(f"customer{customer}@example.org", f"password-{customer}")
    elif what == "payment":
        cents = draw.randrange(2, 20_000)
        made = shop.order(customer, cents, draw.choice(["EUR", "USD"]))
        if tells:
            print(f"payment {made} {cents}", flush=True)  # noqa: T201
    elif not act_on_payment(shop, draw.randint(1, shop.highest("payments")), draw):
        what = "nothing"
    return what


def traffic(
    shop: Shop, operations: int, per_s: float, draw: random.Random, *, tells: bool = False
) -> dict[str, int]:
    """Act as customers do; return how often each thing was done, and what the shop was refused."""
    done = dict.fromkeys((*ACTS, "nothing", "refused"), 0)
    for _ in range(operations):
        try:
            done[act(shop, draw, tells=tells)] += 1
        except sqlite3.IntegrityError as exc:  # Of a fence: this program may not write any more.
            print(f"refused: {exc}", file=sys.stderr)  # noqa: T201
            done["refused"] += 1
        if per_s:
            time.sleep(1 / per_s)
    return {word: count for word, count in done.items() if count}


def main() -> int:
    """Run one command and print what it says as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--file", default="shop.db")
    parser.add_argument("--seed", type=int, default=7)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("seed").add_argument("--customers", type=int, default=100)
    run = commands.add_parser("traffic")
    run.add_argument("--operations", type=int, default=100)
    run.add_argument("--per-s", type=float, default=0, help="0: as fast as it goes")
    run.add_argument("--tell", action="store_true", help="print each payment that was made")
    login = commands.add_parser("login")
    login.add_argument("email")
    login.add_argument("password")
    commands.add_parser("stats")
    given = parser.parse_args()
    draw = random.Random(given.seed)  # noqa: S311
    with closing(Shop(given.file)) as shop:
        if given.command == "seed":
            seed(shop, given.customers, draw)
        if given.command == "login":
            fits = shop.log_in(given.email, given.password)
            print(json.dumps({"logged_in": fits}))  # noqa: T201
            return 0 if fits else 3
        if given.command == "traffic":
            done = traffic(shop, given.operations, given.per_s, draw, tells=given.tell)
        found = done if given.command == "traffic" else shop.stats()
        print(json.dumps(found))  # noqa: T201
    return 0


if __name__ == "__main__":
    sys.exit(main())
