"""A second implementation of what is signed, written from the RFCs alone, to compare with ours.

RFC 6962, section 2.1 by recursion over the leaves themselves; RFC 8032, section 5.1.7 in integers;
C2SP signed notes by splitting lines. Slow, and independent: nothing of the service is imported.
"""

from __future__ import annotations

import base64
import hashlib
import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

# --- RFC 6962 -----------------------------------------------------------------------------------


def tree_hash(leaves: Sequence[bytes]) -> bytes:
    """Return MTH of a list of leaves (2.1)."""
    if not leaves:
        return hashlib.sha256().digest()
    if len(leaves) == 1:
        return hashlib.sha256(b"\x00" + leaves[0]).digest()
    k = half(len(leaves))
    return hashlib.sha256(b"\x01" + tree_hash(leaves[:k]) + tree_hash(leaves[k:])).digest()


def audit_path(m: int, leaves: Sequence[bytes]) -> list[bytes]:
    """Return PATH(m, D[n]) (2.1.1)."""
    if len(leaves) == 1:
        return []
    k = half(len(leaves))
    if m < k:
        return [*audit_path(m, leaves[:k]), tree_hash(leaves[k:])]
    return [*audit_path(m - k, leaves[k:]), tree_hash(leaves[:k])]


def consistency_path(m: int, leaves: Sequence[bytes]) -> list[bytes]:
    """Return PROOF(m, D[n]) (2.1.2)."""
    return _subproof(m, leaves, True)


def _subproof(m: int, leaves: Sequence[bytes], b: bool) -> list[bytes]:
    if m == len(leaves):
        return [] if b else [tree_hash(leaves)]
    k = half(len(leaves))
    if m <= k:
        return [*_subproof(m, leaves[:k], b), tree_hash(leaves[k:])]
    return [*_subproof(m - k, leaves[k:], False), tree_hash(leaves[:k])]


def half(n: int) -> int:
    """Return the largest power of two that is smaller than n."""
    k = 1
    while k * 2 < n:
        k *= 2
    return k


def root_of_path(m: int, n: int, leaf: bytes, path: Sequence[bytes]) -> bytes:
    """Return the root, going down the tree as PATH does, for a leaf's own bytes."""
    if n == 1:
        assert not path
        return hashlib.sha256(b"\x00" + leaf).digest()
    k = half(n)
    *inner, last = path
    if m < k:
        return hashlib.sha256(b"\x01" + root_of_path(m, k, leaf, inner) + last).digest()
    return hashlib.sha256(b"\x01" + last + root_of_path(m - k, n - k, leaf, inner)).digest()


# --- RFC 8032 -----------------------------------------------------------------------------------

P = 2**255 - 19
Q = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, P - 2, P) % P
BASE_Y = 4 * pow(5, P - 2, P) % P


def ed25519_verifies(public: bytes, message: bytes, signature: bytes) -> bool:
    """Tell whether the signature is right: [s]B = R + [k]A."""
    if len(public) != 32 or len(signature) != 64:
        return False
    a, r = _point(public), _point(signature[:32])
    s = int.from_bytes(signature[32:], "little")
    if a is None or r is None or s >= Q:
        return False
    hashed = hashlib.sha512(signature[:32] + public + message).digest()
    k = int.from_bytes(hashed, "little") % Q
    return _same(_times(s, _base()), _plus(r, _times(k, a)))


Point = tuple[int, int, int, int]


def _base() -> Point:
    found = _point(BASE_Y.to_bytes(32, "little"))
    assert found is not None
    return found


def _point(data: bytes) -> Point | None:
    y = int.from_bytes(data, "little")
    sign, y = y >> 255, y & ((1 << 255) - 1)
    if y >= P:
        return None
    square = (y * y - 1) * pow(D * y * y + 1, P - 2, P) % P
    x = pow(square, (P + 3) // 8, P)
    if (x * x - square) % P:
        x = x * pow(2, (P - 1) // 4, P) % P
    if (x * x - square) % P or (x == 0 and sign):
        return None
    x = P - x if x & 1 != sign else x
    return x, y, 1, x * y % P


def _plus(a: Point, b: Point) -> Point:
    left = (a[1] - a[0]) * (b[1] - b[0]) % P
    right = (a[1] + a[0]) * (b[1] + b[0]) % P
    c, d = 2 * a[3] * b[3] * D % P, 2 * a[2] * b[2] % P
    e, f, g, h = right - left, d - c, d + c, right + left
    return e * f % P, g * h % P, f * g % P, e * h % P


def _times(n: int, a: Point) -> Point:
    made: Point = (0, 1, 1, 0)
    while n:
        if n & 1:
            made = _plus(made, a)
        a, n = _plus(a, a), n >> 1
    return made


def _same(a: Point, b: Point) -> bool:
    return (a[0] * b[2] - b[0] * a[2]) % P == 0 and (a[1] * b[2] - b[1] * a[2]) % P == 0


# --- C2SP, and leaves ---------------------------------------------------------------------------


def opened_note(note: str, key: str) -> list[str]:
    """Return the lines of a note that this key, `name+id+base64`, has signed."""
    name, key_id, data = key.split("+", 2)
    public = base64.b64decode(data)
    assert public[0] == 1
    assert hashlib.sha256(name.encode() + b"\n" + public).hexdigest()[:8] == key_id
    cut = note.rindex("\n\n")
    text, lines = note[: cut + 1], note[cut + 2 :].splitlines()
    for line in lines:
        dash, signer, signature = line.split(" ")
        raw = base64.b64decode(signature)
        if (dash, signer, raw[:4].hex()) == ("\u2014", name, key_id):
            assert ed25519_verifies(public[1:], text.encode(), raw[4:])
            return text.splitlines()
    raise AssertionError("no signature of this key")


def leaf_bytes(leaf: dict[str, Any]) -> bytes:
    """Return the canonical text of a leaf: all its names and texts are such that this is JCS."""
    return json.dumps(leaf, ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode()
