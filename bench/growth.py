"""B9: does a full book cost more than an empty one? B1 and the deepest page of a list, twice.

Two services, over a book of few payments and one of many, take turns. What is filled in is what a
command would have left: a payment, its event and its key.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import psycopg

from bench import wrk
from bench.measure import Figure, alternate, ratio
from bench.over_http import CONNECTIONS, WARM_UP_S
from bench.report import Row
from bench.stage import CURRENCY, ROOT, TENANT, USER_HEAD, USERS
from config import Config
from persistence.embedded_postgres import DATABASE
from services.actors import Actor
from services.cursors import Cursors
from services.payment_queries import Filters, bound_to

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from bench.measure import Rounds, Sample
    from bench.stage import Stage

FEW = 10_000
BATCH = 100_000
PAGE = 50
# Older than all that is made under load, a millisecond apart.
FILL = """
WITH made AS (
    INSERT INTO payments (tenant_id, id, user_id, amount_minor, currency, status, created_at,
        updated_at)
    SELECT %(tenant)s, ('01000000-0000-7000-8000-' || lpad(to_hex(n), 12, '0'))::uuid,
        (%(head)s || lpad(to_hex(1 + n %% %(users)s), 12, '0'))::uuid, 1000, %(currency)s,
        'created', timestamptz '2020-01-01' + n * interval '1 ms',
        timestamptz '2020-01-01' + n * interval '1 ms'
    FROM generate_series(%(first)s::bigint, %(last)s::bigint) AS n
    RETURNING tenant_id, id, created_at, payment_json(payments) AS answer
), told AS (
    INSERT INTO payment_events (tenant_id, payment_id, seq, type, amount_minor, status_to, after,
        actor, request_id, key, created_at)
    SELECT tenant_id, id, 1, 'payment.created', 1000, 'created', jsonb_build_object('status',
        'created', 'end_reason', NULL, 'capture_before', NULL, 'authorized_minor', 0,
        'captured_minor', 0, 'voided_minor', 0, 'refunded_minor', 0, 'disputed_minor', 0,
        'charged_back_minor', 0, 'fee_minor', 0, 'fee_refunded_minor', 0), 'system:bench',
        'request', id::text, created_at
    FROM made
)
INSERT INTO idempotency_keys (tenant_id, scope, key, operation, fingerprint, fingerprint_version,
    kind, status, answer, resource_type, resource_id, request_id, created_at, expires_at)
SELECT tenant_id, 'key:bench', id::text, 'POST /v1/payments', sha256('bench'), 1, 'completed', 201,
    answer, 'payment', id, 'request', now(), now() + interval '30 days'
FROM made
"""


def stored(stage: Stage, rounds: int, seconds: int, many: int) -> list[Row]:
    """Measure with 10,000 payments stored and with `many`, in turn; the ratio is many over few."""
    _fill(stage, 1, FEW)
    stage.copy("few")
    pages = {"few": _deepest(stage)}
    _fill(stage, FEW + 1, many)
    pages[DATABASE] = _deepest(stage)
    found = _measure(stage, rounds, seconds, pages)
    return [
        *_rows("B9", "create and capture", found, "load", many),
        *_rows("", "the deepest page of a list", found, "page", many),
    ]


def _rows(id_: str, what: str, found: Rounds, name: str, many: int) -> list[Row]:
    samples = [found[f"{name}, {database}"] for database in (DATABASE, "few")]
    speeds = [[sample.per_s for sample in each] for each in samples]
    errors = [sample.errors for each in samples for sample in each]
    return [
        Row(id_, f"{what}: {many:,} stored over {FEW:,}", ratio(*speeds), target=0.8, goal=0.95),
        Row("", f"{what}, {FEW:,} stored, requests/s", Figure.of(speeds[1])),
        Row("", f"{what}, {many:,} stored, requests/s", Figure.of(speeds[0])),
        Row("", f"{what}: wrong answers", Figure.of(errors)),
    ]


def _measure(stage: Stage, rounds: int, seconds: int, pages: dict[str, str]) -> Rounds:
    contenders: dict[str, Callable[[int], Sample]] = {}
    for name in ("load", "page"):
        for database, page in pages.items():
            url = f"http://127.0.0.1:{stage.service(database)}"
            arguments = [stage.api_key, str(USERS) if name == "load" else page]
            script = ROOT / "bench" / f"{name}.lua"
            contenders[f"{name}, {database}"] = partial(_wrk, url, script, arguments)
    for run in contenders.values():
        run(WARM_UP_S)
    return alternate({name: partial(run, seconds) for name, run in contenders.items()}, rounds)


def _wrk(url: str, script: Path, arguments: list[str], seconds: int) -> Sample:
    return wrk.run(
        url, seconds=seconds, connections=CONNECTIONS, script=script, arguments=arguments
    )


def _deepest(stage: Stage) -> str:
    """Return the path of the last full page of all payments.

    Its cursor is signed here: to turn 200,000 pages takes hours. No filter shortens the list.
    """
    with psycopg.connect(stage.owner_url) as conn:
        row = conn.execute(
            "SELECT created_at, id FROM payments ORDER BY created_at, id OFFSET %s LIMIT 1", [PAGE]
        ).fetchone()
    assert row is not None  # noqa: S101 - it was filled.
    cursors = Cursors(*Config.load(stage.inherited).subkeys("cursor").values())
    bound = bound_to(Actor(TENANT, "key:bench", frozenset()), Filters())
    cursor = cursors.sign("payments", [row[0].isoformat(), row[1]], bound)
    return f"/v1/payments?limit={PAGE}&cursor={cursor}"


def _fill(stage: Stage, first: int, last: int) -> None:
    facts = {"tenant": TENANT, "head": USER_HEAD, "users": USERS, "currency": CURRENCY}
    with psycopg.connect(stage.owner_url, autocommit=True) as conn:
        conn.execute("SET TimeZone = 'UTC'")
        for begin in range(first, last + 1, BATCH):
            end = min(begin + BATCH - 1, last)
            conn.execute(FILL, {**facts, "first": begin, "last": end})
            print(f"  {end:,} payments stored", flush=True)
        conn.execute("VACUUM ANALYZE payments, payment_events, idempotency_keys")
