"""`flask errors-page`: docs/errors.md, made from errors.py (AF1)."""

from __future__ import annotations

import click

from errors import CONSTRAINTS, AppError, all_errors

PAGE_HEAD = """\
# Errors

Every refusal is `application/problem+json` (RFC 9457) with `type` (`/problems/<code>`), `title`,
`status`, `detail`, `instance`, `code`, `retryable`, `request_id` and `errors`, a list of
`{pointer | parameter | header, code, detail}` that names every fault of the request at once. Some
codes have members of their own. Decide by `code`: it never changes its meaning; texts may.

`retryable` means that the same request, with the same `Idempotency-Key` if it had one, is safe and
may succeed. Every 429 and 503 says after how many seconds in `Retry-After`. No answer repeats a
value of the request.

This page is made by `flask errors-page` from `errors.py`.
"""
TABLE_HEAD = """\

## {status}

| code | retryable | what it says |
|---|---|---|
"""
CONSTRAINTS_HEAD = """
## Constraints that mean a code

Where the database itself refuses a row, the name of the constraint decides the code. Any other
constraint is a bug of the service: 500.

| constraint | code |
|---|---|
"""


def page() -> str:
    """Return docs/errors.md: every code by its status, then the constraints."""
    errors: list[type[AppError]] = [AppError, *all_errors()]
    parts = [PAGE_HEAD]
    for status in sorted({error.status for error in errors}):
        parts.append(TABLE_HEAD.format(status=status))
        parts += [_line(error) for error in errors if error.status == status]
    parts.append(CONSTRAINTS_HEAD)
    parts += [f"| `{name}` | `{error.code}` |\n" for name, error in sorted(CONSTRAINTS.items())]
    return "".join(parts)


def _line(error: type[AppError]) -> str:
    detail = (error.__doc__ or "").strip().splitlines()[0].replace("<", "&lt;")
    return f"| `{error.code}` | {'yes' if error.retryable else 'no'} | {detail} |\n"


@click.command("errors-page")
def errors_page() -> None:
    """Print docs/errors.md."""
    click.echo(page(), nl=False)
