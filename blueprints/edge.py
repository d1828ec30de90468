"""The way in and out of every view: `operation` authorises, reads and checks; `respond` renders.

The order is K1's: credential and scope, headers, JSON, fingerprint; then the view.
"""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal
from uuid import UUID

from flask import Response, request
from uuid_utils import uuid7

from blueprints import admission, reading
from blueprints.exchange import exchange
from blueprints.fields import ID_PATTERN, Answer, Empty, Model
from blueprints.hooks import heavy_slots, services
from errors import (
    AppError,
    BatchTooLarge,
    BodyTooLarge,
    IdempotencyKeyRequired,
    NotFound,
    ValidationFailed,
    VersionMismatch,
)
from services.idempotency import FINGERPRINT_VERSION, Claim, fingerprint
from services.rate_limits import FREE

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from wsgiref.types import WSGIEnvironment

    from blueprints.exchange import Exchange
    from blueprints.policy import Policy
    from errors import Fault
    from services import Services
    from services.actors import Actor

    Shown = type[Answer] | str
    Answers = Mapping[int, Shown | tuple[Shown, ...] | None]

BODY_METHODS = frozenset({"POST", "PUT", "PATCH"})
ID = re.compile(ID_PATTERN)


@dataclass(slots=True)
class Call:
    """One request as a view sees it. `actor` is None on public routes, `claim` on unkeyed ones.

    On a keyed route `fault` holds what is wrong with body or query, which are then None: the
    service raises it once it has looked up the key (K1). Elsewhere the frame has raised it.
    `document` is the body as JSON, with what the client has left out left out.
    """

    actor: Actor
    body: Any = None
    query: Any = None
    if_match: int | None = None
    claim: Claim = None  # type: ignore[assignment]
    fault: ValidationFailed | None = None
    document: Any = None
    # Of a body that is read line by line: its media type, and what reads a line of it.
    stream: tuple[str, Callable[[int], bytes]] = ("", lambda _: b"")

    def after_answer(self, action: Callable[[], object]) -> None:
        """Do this when the answer has left; a failure is logged, the client never sees it."""
        exchange().after.append(action)


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """What a view declares of itself: the frame enforces it and the API description prints it."""

    view: Callable[..., Response]
    policy: Policy
    body: type[Model] | None
    query: type[Model] | None
    answers: Answers
    errors: tuple[type[AppError], ...]
    keyed: bool
    by_id: bool
    switch: str | None
    lines_of: str | None
    streams: tuple[str, ...]
    ids: tuple[str, ...]
    texts: tuple[str, ...]
    cost: Literal["free", "usual", "heavy"]
    body_max_bytes: int | None
    query_reader: reading.Query
    no_body: bytes

    @property
    def versioned(self) -> bool:
        """Whether If-Match is read."""
        return VersionMismatch in self.errors


def operation(
    *,
    policy: Policy,
    answers: Answers,
    body: type[Model] | None = None,
    query: type[Model] | None = None,
    errors: tuple[type[AppError], ...] = (),
    keyed: bool = False,
    by_id: bool = False,
    switch: str | None = None,
    cost: Literal["free", "usual", "heavy"] = "usual",
    body_max_bytes: int | None = None,
    lines_of: str | None = None,
    streams: tuple[str, ...] = (),
) -> Callable[[Callable[..., Response]], Callable[..., Response]]:
    """Declare a view `def view(call: Call, thing_id: UUID) -> Response`.

    `answers` maps a status to the model of its JSON, to a media type, to several of these, or to
    None for no body.
    `errors` are the view's own; the frame's are known. `keyed`: Idempotency-Key is read, and
    `call.claim` made. If-Match is read where `errors` holds VersionMismatch. A path parameter
    annotated UUID is an id: 404 unless it has 36 lower-case characters (AE6).

    `by_id`: a body with an `id`, or of a dry run, needs no key, and the one it has is not read:
    `call.claim` is None. `switch` is a setting: 404 feature_disabled while it is false. `cost`:
    `free` has no rate limit, `heavy` has a second one (batches, exports, proofs). `lines_of`: a
    batch of LEDGER_BATCH_MAX_BYTES, also as lines of JSON, which are that member.
    `body_max_bytes`: less than BODY_MAX_BYTES. `streams`: media types of a body without a limit,
    which the view reads line by line, under no deadline.
    """

    def declare(view: Callable[..., Response]) -> Callable[..., Response]:
        kinds = view.__annotations__.items()
        declared = Operation(
            view=view,
            policy=policy,
            body=body,
            query=query,
            answers=answers,
            errors=errors,
            keyed=keyed,
            by_id=by_id,
            switch=switch,
            cost=cost,
            lines_of=lines_of,
            streams=streams,
            ids=tuple(name for name, kind in kinds if kind in {UUID, "UUID"}),
            texts=tuple(name for name, kind in kinds if kind in {str, "str"}),
            body_max_bytes=body_max_bytes,
            query_reader=reading.Query(query or Empty),
            no_body=_no_body(body or Empty),
        )
        handle = functools.wraps(view)(_handler(declared))
        handle.operation = declared  # type: ignore[attr-defined]
        return handle

    return declare


def respond(
    status: int, model: type[Answer], data: Any, headers: Mapping[str, str] | None = None
) -> Response:
    """Answer with `data` (a row, or stored JSON) as `model` shows it: the same bytes each time."""
    text = model.__pydantic_serializer__.to_json(model.model_validate(data))
    return Response(text, status, headers, content_type="application/json")


def _handler(op: Operation) -> Callable[..., Response]:
    def handle(**path: Any) -> Response:
        environ, held, now = request.environ, services(), exchange()
        now.route = request.url_rule.rule  # type: ignore[union-attr]
        now.use_case = None if op.cost == "free" else request.endpoint
        now.quota = admission.of_address(op, held, environ)
        try:
            return serve(environ, held, now, path)
        except AppError as error:
            admission.charge_refused(held, now, error)
            raise

    def serve(
        environ: WSGIEnvironment, held: Services, now: Exchange, path: dict[str, Any]
    ) -> Response:
        call = Call(admission.enter(op, held, environ, now))
        if not op.by_id:
            _settle_key(held, environ, now, is_keyed=op.keyed)
        if op.versioned and "HTTP_IF_MATCH" in environ:
            call.if_match = reading.if_match(environ["HTTP_IF_MATCH"])
        _read_path(op, path)
        given, call.document, wrong = _read_content(op, call, environ, held)
        is_keyed = op.keyed and not (op.by_id and _names_itself(call.document))
        if op.by_id:
            _settle_key(held, environ, now, is_keyed=is_keyed)
        if wrong:
            call.fault, call.body, call.query = ValidationFailed(errors=wrong), None, None
            if not is_keyed:
                raise call.fault
        if is_keyed:
            call.claim = _claim(call, now, environ, (given, call.document))
        else:
            admission.charge(held, now)
        return _heavy(op, call, path) if op.cost == "heavy" else op.view(call, **path)

    return handle


def _heavy(op: Operation, call: Call, path: dict[str, Any]) -> Response:
    """Run the view in one of the few slots for long work, until its last byte has left (OS1)."""
    slots = heavy_slots()
    slots.take()
    try:
        answer = op.view(call, **path)
    except BaseException:
        slots.give_back()
        raise
    if answer.is_streamed:
        answer.call_on_close(slots.give_back)
    else:
        slots.give_back()
    return answer


def _names_itself(document: Any) -> bool:
    return isinstance(document, dict) and ("id" in document or document.get("dry_run") is True)


def _no_body(model: type[Model]) -> bytes:
    """Return what the absence of a body means: `{}` where the model needs nothing."""
    needs = any(each.is_required() for each in model.model_fields.values())
    return b"" if needs else b"{}"


def _settle_key(held: Services, environ: WSGIEnvironment, now: Exchange, *, is_keyed: bool) -> None:
    """Read or make the key and note what every answer says of it (K2 to K4, K11)."""
    header = environ.get("HTTP_IDEMPOTENCY_KEY")
    if header is None and not is_keyed:
        return
    if not is_keyed or not held.config.feature_idempotency_enabled:
        header, now.idempotency = None, "ignored"
    elif header is not None:
        now.key = now.answer_headers["Idempotency-Key"] = reading.idempotency_key(header)
        return
    elif held.config.idempotency_key_required and environ["REQUEST_METHOD"] == "POST":
        raise IdempotencyKeyRequired(**reading.ABOUT_KEYS)
    else:
        now.idempotency = "generated"
    now.answer_headers["Idempotency-Status"] = now.idempotency
    if is_keyed:
        now.key, now.key_is_generated = f"auto-{uuid7()}", True
        now.answer_headers["Idempotency-Key"] = now.key


def _read_path(op: Operation, path: dict[str, Any]) -> None:
    """Turn ids into UUIDs, in place. Raises NotFound for what no id and no text column can be."""
    for name in op.ids:
        if ID.fullmatch(path[name]) is None:
            raise NotFound
        path[name] = UUID(path[name])
    for name in op.texts:
        if not path[name].isprintable():
            raise NotFound


def _read_content(
    op: Operation, call: Call, environ: WSGIEnvironment, held: Services
) -> tuple[list[tuple[str, str]], Any, tuple[Fault, ...]]:
    """Read body and query into `call`; return the query's pairs, the document, and all faults."""
    given = reading.pairs(environ)
    call.query, wrong = op.query_reader.read(given)
    if environ["REQUEST_METHOD"] not in BODY_METHODS:
        return given, {}, tuple(wrong)
    if op.streams:
        call.stream = reading.stream(environ, op.streams)
        exchange().deadline = None
        return given, {}, tuple(wrong)
    raw = _read_body(op, environ, held) or op.no_body
    document = reading.document(raw)
    call.body, more = reading.parsed(op.body or Empty, raw, document)
    return given, document, (*wrong, *more)


def _read_body(op: Operation, environ: WSGIEnvironment, held: Services) -> bytes:
    if op.lines_of is None:
        most = held.config.body_max_bytes
        return reading.body(environ, min(op.body_max_bytes or most, most))
    try:
        return reading.body(environ, held.config.ledger_batch_max_bytes, op.lines_of)
    except BodyTooLarge as exc:
        raise BatchTooLarge(exc.detail) from exc


def _claim(call: Call, now: Exchange, environ: WSGIEnvironment, content: tuple[Any, Any]) -> Claim:
    return Claim(
        tenant_id=call.actor.tenant_id,
        scope=call.actor.subject,
        key=now.key,
        operation=f"{environ['REQUEST_METHOD']} {environ['PATH_INFO']}",
        fingerprint=fingerprint(*content),
        fingerprint_version=FINGERPRINT_VERSION,
        request_id=now.request_id,
        generated=now.key_is_generated,
        content=content,
        quota=now.quota or FREE,
    )
