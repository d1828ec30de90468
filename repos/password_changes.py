"""A new password by a link; a change by its owner opens a session (repos/sessions.py)."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

from persistence.statements import statement

if TYPE_CHECKING:
    from uuid import UUID

    from persistence.db import Conn
    from repos.audit import Caller

RESET = statement("password_changes/reset")


def reset(
    conn: Conn,
    caller: Caller,
    *,
    tenant_id: str,
    user_id: UUID,
    token_hash: bytes,
    password_hash: str,
    password_algo: str,
    password_params: dict[str, int],
    pair_key: bytes,
    account_key: bytes,
    mail_id: UUID,
    audit_id: UUID,
) -> int:
    """Use a link to set a password; 0: it is good for nothing by now."""
    return RESET.count(
        conn,
        **asdict(caller),
        tenant_id=tenant_id,
        user_id=user_id,
        token_hash=token_hash,
        password_hash=password_hash,
        password_algo=password_algo,
        password_params=password_params,
        pair_key=pair_key,
        account_key=account_key,
        mail_id=mail_id,
        audit_id=audit_id,
    )
