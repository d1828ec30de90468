"""What gunicorn refuses before there is a request, answered in our shape (AF4).

gunicorn's own page is HTML and quotes what it was sent. gunicorn.conf.py calls this; exceptions
are told by their names, so that the application does not depend on its server.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import observability
from blueprints import hooks, problems
from errors import AppError, HeadersTooLarge, InvalidRequest, RequestLineTooLong

if TYPE_CHECKING:
    from flask import Flask

# The application's own fault, though gunicorn's names for it derive from those of requests.
OURS = {"InvalidResponseHeader", "InvalidResponseHeaderName"}
KINDS: dict[str, type[AppError]] = {
    "LimitRequestLine": RequestLineTooLong,
    "LimitRequestHeaders": HeadersTooLarge,
    "ParseException": InvalidRequest,
}


def refusal(app: Flask, exc: BaseException, address: str) -> bytes | None:
    """Return the whole answer to what could not be read; None: that is not why it failed."""
    names = [kind.__name__ for kind in type(exc).__mro__]
    error = next((KINDS[name] for name in names if name in KINDS), None)
    if error is None or OURS.intersection(names):
        return None
    environ = {"REQUEST_METHOD": "-", "PATH_INFO": "", "REMOTE_ADDR": address}
    now = hooks.begin(environ)
    answer = problems.answer(error())
    now.status = answer.status_code
    headers = [*answer.headers.items(), ("Connection", "close")]
    hooks.complete(now, headers, over_tls=False)
    hooks.tell(now, environ, 0.0, app.extensions["strongroom"].kv.state)
    observability.end()
    head = "".join(f"{name}: {value}\r\n" for name, value in headers)
    return f"HTTP/1.1 {answer.status}\r\n{head}\r\n".encode("latin-1") + answer.get_data()
