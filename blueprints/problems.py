"""Every error as one shape, application/problem+json (RFC 9457), whoever raised it (AF1 to AF4)."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any
from uuid import NAMESPACE_OID, uuid5

from flask import Response
from pydantic import ConfigDict, Field
from pydantic_core import to_json
from werkzeug.exceptions import HTTPException

import observability
from blueprints.exchange import exchange
from blueprints.fields import Answer, Maybe
from errors import (
    AppError,
    BodyTooLarge,
    InvalidHeader,
    LedgerBehind,
    MethodNotAllowed,
    NotFound,
    Overloaded,
    RateLimited,
    UnsupportedMediaType,
)

if TYPE_CHECKING:
    from collections.abc import Iterable
    from wsgiref.types import StartResponse, WSGIEnvironment

    from flask import Flask

    from blueprints.exchange import Exchange

MEDIA_TYPE = "application/problem+json"
UUID_TEXT = re.compile("[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
RETRY_AFTER_S = {LedgerBehind.code: 5}
HTTP_ERRORS: dict[int | None, type[AppError]] = {
    404: NotFound,
    405: MethodNotAllowed,
    413: BodyTooLarge,
    415: UnsupportedMediaType,
    429: RateLimited,
    503: Overloaded,
}


class OneFault(Answer):
    """One fault of the request: where (one of the first three), and why."""

    pointer: Maybe[str] = Field(
        None, description="JSON pointer into the body.", examples=["/amount_minor"]
    )
    parameter: Maybe[str] = Field(None, description="Name in the query string.")
    header: Maybe[str] = Field(None, description="Name of a header.")
    code: str = Field(description="Stable: for programs.", examples=["amount_not_integer"])
    detail: str = Field(description="A sentence: for people.")


class Problem(Answer):
    """What every refusal and failure looks like (RFC 9457); some codes add members."""

    model_config = ConfigDict(extra="allow")

    type: str = Field(
        description="A page about the code.", examples=["/problems/validation_failed"]
    )
    title: str
    status: int
    detail: str
    instance: str = Field(description="This occurrence.")
    code: str = Field(description="Stable: decide by this.", examples=["validation_failed"])
    retryable: bool = Field(
        description="The same request, with the same key if it had one, is safe and may succeed."
    )
    request_id: str = Field(description="Tell us this one.")
    errors: list[OneFault] = Field(description="What is wrong with the request, all at once.")


def install(app: Flask) -> None:
    """Answer every exception of `app` with a problem document."""
    app.register_error_handler(Exception, lambda exc: answer(_translated(exc)))


def wsgi_answer(
    exc: Exception, environ: WSGIEnvironment, start_response: StartResponse
) -> Iterable[bytes]:
    """Answer what was raised outside Flask."""
    return answer(_translated(exc))(environ, start_response)


def document(error: AppError, now: Exchange) -> dict[str, Any]:
    """Return the problem document of `error` in the request `now`."""
    made: dict[str, Any] = {
        "type": f"/problems/{error.code}",
        "title": error.title,
        "status": error.status,
        "detail": error.detail,
        "instance": _instance(now.request_id),
        "code": error.code,
        "retryable": error.retryable,
        "request_id": now.request_id,
        "errors": error.errors,
    }
    if now.key and error.status == Overloaded.status:
        made["safe_new_key"] = False  # An earlier try with this key may have done it (K4).
    return made | error.members


def answer(error: AppError) -> Response:
    """Return the answer to the request of this thread, and count it."""
    now = exchange()
    now.code = error.code
    observability.problems_total.labels(error.code).inc()
    text = to_json(document(error, now))
    return Response(text, error.status, _headers(error), content_type=MEDIA_TYPE)


def _headers(error: AppError) -> dict[str, str]:
    headers = dict(error.headers)
    if error.status in {429, 503} or error.code in RETRY_AFTER_S or error.retryable:
        headers.setdefault("Retry-After", str(RETRY_AFTER_S.get(error.code, 1)))
    if error.status == 401:  # noqa: PLR2004
        without = {"unauthenticated", "invalid_credentials"}  # No token was sent (RFC 6750, 3.1).
        invalid = "" if error.code in without else ', error="invalid_token"'
        headers.setdefault("WWW-Authenticate", f'Bearer realm="strongroom"{invalid}')
    return headers


def _translated(exc: Exception) -> AppError:
    if isinstance(exc, AppError):
        return exc
    return _of_http(exc) if isinstance(exc, HTTPException) else _unexpected(exc)


def _of_http(exc: HTTPException) -> AppError:
    """Translate what werkzeug raises: unknown paths, methods, unreadable requests."""
    if exc.code is not None and exc.code >= 500 and exc.code not in HTTP_ERRORS:  # noqa: PLR2004
        return _unexpected(exc)
    kind = HTTP_ERRORS.get(exc.code, InvalidHeader)
    allow = {n: v for n, v in exc.get_headers() if n in {"Allow", "Retry-After"}}
    return kind("There is no such path." if kind is NotFound else None, headers=allow)


def _unexpected(exc: Exception) -> AppError:
    observability.log.error("unexpected", exc_info=exc)
    return AppError("Something failed here, not in your request; request_id helps us to find it.")


def _instance(request_id: str) -> str:
    known = UUID_TEXT.fullmatch(request_id)
    return f"urn:uuid:{request_id if known else uuid5(NAMESPACE_OID, request_id)}"
