"""`flask webhooks`: who is told of events, by hand.

Exit codes: 0 done; 2 what was asked cannot be (a URL that is refused); 3 a finding (no such
endpoint, too many, a test that was not accepted); 4 the database cannot be reached.
"""

from __future__ import annotations

import contextlib
import json
import sys
from dataclasses import asdict
from datetime import datetime
from typing import TYPE_CHECKING, Any
from uuid import UUID

import click

from commands.arguments import LABEL, MOMENT, Parsed, json_option, tenant_option
from commands.database import opened_database
from commands.subject import subject
from services.cursors import Cursors
from services.webhook_calls import WebhookCalls
from services.webhook_messages import EVENT_TYPES
from services.webhook_secrets import WebhookSecrets
from services.webhooks import Change, Webhooks

if TYPE_CHECKING:
    from collections.abc import Iterator

    from repos.webhooks import EndpointRow

FINDING = 3


def _event(text: str) -> tuple[UUID, int]:
    payment_id, _, seq = text.rpartition("-")
    return UUID(payment_id), int(seq)


EVENT = Parsed("an event's id: the payment's, a hyphen and a number", _event)
url_argument = click.argument("url")
endpoint_argument = click.argument("endpoint_id", type=click.UUID)
types_option = click.option(
    "--type", "types", type=click.Choice(EVENT_TYPES), multiple=True, help="Repeat it for several."
)
description_option = click.option("--description", type=LABEL, help="A text for people.")


@contextlib.contextmanager
def _opened(tenant_id: str | None) -> Iterator[tuple[Webhooks, str]]:
    """Yield the use cases, and the tenant that is meant."""
    with opened_database() as (config, db):
        yield (
            Webhooks(
                db,
                Cursors(*config.subkeys("cursor").values()),
                WebhookSecrets(config.subkeys("webhook")),
                WebhookCalls(allow_private=config.webhook_allow_private),
            ),
            tenant_id or config.default_tenant,
        )


@click.group("webhooks")
def webhooks() -> None:
    """Webhook endpoints: who is told of events."""


@webhooks.command("create")
@url_argument
@types_option
@description_option
@tenant_option
@json_option
def create(
    url: str, types: tuple[str, ...], description: str | None, tenant_id: str | None, as_json: bool
) -> None:
    """Make an endpoint at URL, told of what happens from now on (without --type: of everything).

    Its secret is shown this once.
    """
    with _opened(tenant_id) as (held, tenant):
        row, secret = held.create(
            tenant, url, subject(), event_types=types, description=description
        )
    _show_secret(row, secret, as_json)


@webhooks.command("list")
@tenant_option
@json_option
def list_all(tenant_id: str | None, as_json: bool) -> None:
    """List the endpoints of a tenant."""
    with _opened(tenant_id) as (held, tenant):
        rows = held.list_all(tenant)
    _show({"data": [asdict(row) for row in rows]}, "\n".join(map(_line, rows)), as_json)


@webhooks.command("show")
@endpoint_argument
@tenant_option
@json_option
def show(endpoint_id: UUID, tenant_id: str | None, as_json: bool) -> None:
    """Show one endpoint."""
    with _opened(tenant_id) as (held, tenant):
        row = held.get(tenant, endpoint_id)
    _show(asdict(row), _line(row), as_json)


@webhooks.command("change")
@endpoint_argument
@click.option("--url", help="Where it is now.")
@types_option
@click.option("--all-types", is_flag=True, help="Every type, of later releases too.")
@description_option
@tenant_option
@json_option
def change(
    endpoint_id: UUID,
    url: str | None,
    types: tuple[str, ...],
    all_types: bool,
    description: str | None,
    tenant_id: str | None,
    as_json: bool,
) -> None:
    """Change what is given of an endpoint; the rest stays."""
    given = {
        "url": url is not None,
        "description": description is not None,
        "event_types": bool(types or all_types),
    }
    wanted = Change(
        given=frozenset(name for name, is_given in given.items() if is_given),
        url=url,
        description=description,
        event_types=() if all_types else types,
    )
    _change(endpoint_id, wanted, tenant_id, as_json)


@webhooks.command("enable")
@endpoint_argument
@tenant_option
@json_option
def enable(endpoint_id: UUID, tenant_id: str | None, as_json: bool) -> None:
    """Let an endpoint go on where it was, with all that it has missed."""
    _set_status(endpoint_id, "active", tenant_id, as_json)


@webhooks.command("disable")
@endpoint_argument
@tenant_option
@json_option
def disable(endpoint_id: UUID, tenant_id: str | None, as_json: bool) -> None:
    """Send nothing to an endpoint until it is enabled again."""
    _set_status(endpoint_id, "disabled", tenant_id, as_json)


@webhooks.command("delete")
@endpoint_argument
@tenant_option
@json_option
def delete(endpoint_id: UUID, tenant_id: str | None, as_json: bool) -> None:
    """End an endpoint and forget its secrets."""
    with _opened(tenant_id) as (held, tenant):
        held.delete(tenant, endpoint_id, subject())
    _show({"id": endpoint_id, "status": "deleted"}, f"deleted {endpoint_id}", as_json)


@webhooks.command("rotate-secret")
@endpoint_argument
@tenant_option
@json_option
def rotate_secret(endpoint_id: UUID, tenant_id: str | None, as_json: bool) -> None:
    """Make a new secret and show it, this once; the older one signs too for 24 hours."""
    with _opened(tenant_id) as (held, tenant):
        row, secret = held.rotate_secret(tenant, endpoint_id, subject())
    _show_secret(row, secret, as_json)


@webhooks.command("test")
@endpoint_argument
@tenant_option
@json_option
def test(endpoint_id: UUID, tenant_id: str | None, as_json: bool) -> None:
    """Send a signed event of type webhook.test now (exit 3: it was not accepted)."""
    with _opened(tenant_id) as (held, tenant):
        outcome = held.test(tenant, endpoint_id)
    said = str(outcome.status or outcome.error)
    told = "accepted" if outcome.is_delivered else "not accepted"
    data = {"delivered": outcome.is_delivered, "status": outcome.status, "error": outcome.error}
    _show({**data, "duration_ms": outcome.duration_ms}, f"{told}: {said}", as_json)
    sys.exit(0 if outcome.is_delivered else FINDING)


@webhooks.command("deliveries")
@endpoint_argument
@click.option("--state", type=click.Choice(["pending", "delivered", "failed"]))
@click.option("--limit", type=click.IntRange(1, 200), default=50, show_default=True)
@click.option("--cursor", help="`next_cursor` of the page before.")
@tenant_option
@json_option
def deliveries(
    endpoint_id: UUID,
    state: str | None,
    limit: int,
    cursor: str | None,
    tenant_id: str | None,
    as_json: bool,
) -> None:
    """Show what an endpoint was and will be sent, newest first."""
    with _opened(tenant_id) as (held, tenant):
        rows, next_cursor = held.deliveries(tenant, endpoint_id, state, limit, cursor)
    shown = [{"event_id": f"{row.payment_id}-{row.seq}", **asdict(row)} for row in rows]
    text = "\n".join(
        f"{each['event_id']}  {each['type']}  {each['state']}  attempts {each['attempts']}"
        f"  last {each['last_status'] or each['last_error'] or 'none'}"
        for each in shown
    )
    _show({"data": shown, "next_cursor": next_cursor}, text, as_json)


@webhooks.command("redeliver")
@endpoint_argument
@click.option("--event", type=EVENT, help="This one, whatever became of it.")
@click.option("--failed-since", type=MOMENT, help="All that was given up since then.")
@tenant_option
@json_option
def redeliver(
    endpoint_id: UUID,
    event: tuple[UUID, int] | None,
    failed_since: datetime | None,
    tenant_id: str | None,
    as_json: bool,
) -> None:
    """Send again, from the first attempt on: one event, or all that was given up."""
    if (event is None) == (failed_since is None):
        raise click.UsageError("Give --event or --failed-since.")
    queued = 0
    with _opened(tenant_id) as (held, tenant):
        if event is not None:
            queued = held.redeliver(tenant, endpoint_id, *event)
        more = failed_since is not None
        while failed_since is not None and more:
            made, more = held.redeliver_failed(tenant, endpoint_id, failed_since)
            queued += made
    _show({"queued": queued}, f"queued {queued}", as_json)


def _set_status(endpoint_id: UUID, status: str, tenant_id: str | None, as_json: bool) -> None:
    _change(endpoint_id, Change(given=frozenset({"status"}), status=status), tenant_id, as_json)


def _change(endpoint_id: UUID, wanted: Change, tenant_id: str | None, as_json: bool) -> None:
    with _opened(tenant_id) as (held, tenant):
        row = held.change(tenant, endpoint_id, wanted, subject())
    _show(asdict(row), _line(row), as_json)


def _show_secret(row: EndpointRow, secret: str, as_json: bool) -> None:
    click.echo("Keep the secret now: it is not shown again.", err=True)
    _show({**asdict(row), "secret": secret}, f"{_line(row)}\n{secret}", as_json)


def _line(row: EndpointRow) -> str:
    reason = f" ({row.disabled_reason})" if row.disabled_reason else ""
    failing = f"  failing since {row.failing_since:%Y-%m-%d %H:%M}Z" if row.failing_since else ""
    return f"{row.id}  {row.status}{reason}{failing}  {row.url}"


def _show(data: dict[str, Any], text: str, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(data, default=_json_value))
    elif text:
        click.echo(text)


def _json_value(value: object) -> str:
    if isinstance(value, datetime):
        return value.isoformat().replace("+00:00", "Z")
    return str(value)
