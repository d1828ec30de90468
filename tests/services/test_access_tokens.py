"""Access tokens: issued, verified strictly, worth nothing at once when they are (A39 to A41)."""

from __future__ import annotations

import base64
import json
import random
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

import psycopg
import pytest
from jwt.algorithms import HMACAlgorithm

from config import Config
from errors import AccessTokenExpired, AccessTokenInvalid, AppError
from observability import current
from repos.access_tokens import AUTHENTICATE
from services import jws
from services.access_tokens import SessionFacts
from services.actors import SCOPES, SCOPES_OF_ROLE
from tests import mutants
from tests.world import Session, World

if TYPE_CHECKING:
    from pathlib import Path

    from services.actors import Actor


@dataclass
class Mint:
    """A live session, and a hand that can sign whatever it wants with the tenant's real key."""

    world: World
    session: Session

    def accepts(self, text: str) -> bool:
        try:
            self.enter(text)
        except AccessTokenInvalid:
            return False
        return True

    def enter(self, text: str | None = None) -> Actor:
        return self.world.services.access_tokens.authenticate(
            self.session.token if text is None else text
        )

    def refusal(self, text: str | None = None) -> str:
        """Return the code with which a token is refused, or `ok`."""
        try:
            self.enter(text)
        except AppError as error:
            return error.code
        return "ok"

    @property
    def header(self) -> dict[str, Any]:
        return jws.read(self.session.token).header

    @property
    def claims(self) -> dict[str, Any]:
        return jws.members(jws.read(self.session.token).payload)

    def sign(self, header: dict[str, Any] | str, claims: dict[str, Any] | str) -> str:
        """Sign what may be no JSON at all."""
        parts = [part if isinstance(part, str) else json.dumps(part) for part in (header, claims)]
        return self.sign_text(".".join(jws.encode(part.encode()) for part in parts))

    def sign_text(self, signed: str) -> str:
        signer = self.world.services.signing_keys.signer("default", "cli:test")
        signature = jws.ALGORITHMS[signer.alg].sign(signed.encode(), signer.private_key)
        return f"{signed}.{jws.encode(signature)}"

    def with_claims(self, **changed: Any) -> str:
        """Sign the claims of the session's token with some changed; `...` leaves one out."""
        claims = {n: v for n, v in (self.claims | changed).items() if v is not ...}
        return self.sign(self.header, claims)


@pytest.fixture
def mint(world: World) -> Mint:
    return Mint(world, world.new_session())


# --- What is issued -----------------------------------------------------------------------------


def test_a_token_has_the_header_and_claims_of_rfc_9068(mint: Mint) -> None:
    """Section 7."""
    kids = [jwk["kid"] for jwk in mint.world.services.signing_keys.published("default")]
    assert mint.header == {"alg": "ES256", "kid": kids[0], "typ": "at+jwt"}
    claims = mint.claims
    iat = claims["iat"]
    assert abs(iat - datetime.now(UTC).timestamp()) < 60
    assert UUID(claims.pop("jti")).version == 7
    assert iat - 60 < claims.pop("auth_time") <= iat + 1
    assert 570 <= claims.pop("exp") - iat <= 600
    assert claims == {
        "iss": mint.world.services.config.public_url,
        "aud": "strongroom",
        "sub": f"user:{mint.session.user_id}",
        "client_id": "first-party",
        "sid": str(mint.session.session_id),
        "tid": "default",
        "iat": iat,
        "nbf": iat,
        "amr": ["pwd"],
        "scope": "ledger:read payments:create payments:read",
    }


def facts(session: Session, **changed: Any) -> SessionFacts:
    given: dict[str, Any] = {
        "tenant_id": "default",
        "user_id": session.user_id,
        "session_id": session.session_id,
        "auth_time": datetime.now(UTC),
        "amr": ["pwd"],
        "role": "user",
    }
    return SessionFacts(**{**given, **changed})


def test_tokens_of_one_moment_do_not_end_together(mint: Mint) -> None:
    """Section 7: 0 to 5 % less; what the answer says is what the token says."""
    lives = set()
    for _ in range(40):
        issued = mint.world.services.access_tokens.issue(facts(mint.session))
        claims = jws.members(jws.read(issued.text).payload)
        assert claims["exp"] - claims["iat"] == issued.expires_in_s
        lives.add(issued.expires_in_s)
    assert len(lives) > 5
    assert min(lives) >= 570
    assert max(lives) <= 600


def test_three_algorithms_are_good_at_once(database: str, tmp_path: Path) -> None:
    """Section 7: the stored key decides; RS256 is the default for new keys."""
    assert Config.load({}).jwt_alg == "RS256"
    texts = []
    for alg in ("RS256", "ES256", "EdDSA"):
        world = World(database, tmp_path, JWT_ALG=alg, JWKS_MAX_AGE_S="0")
        world.services.signing_keys.rotate("default", "cli:test")
        session = world.new_session()
        assert jws.read(session.token).header["alg"] == alg
        texts.append((session, world))
    for _, world in texts:
        for session, _ in texts:
            assert world.services.access_tokens.authenticate(session.token).user_id == (
                session.user_id
            )
    for _, world in texts:
        world.close()


def test_a_tenant_is_an_issuer_of_its_own(mint: Mint) -> None:
    """Section 7."""
    held = mint.world.services
    held.tenants.create("acme", "Acme", "cli:test")
    session = mint.world.new_session("user", "acme")
    claims = jws.members(jws.read(session.token).payload)
    assert claims["iss"] == f"{held.config.public_url}/t/acme"
    assert mint.enter(session.token).tenant_id == "acme"


# --- Who it is ----------------------------------------------------------------------------------


def test_a_user_reaches_its_own_and_an_operator_all(mint: Mint) -> None:
    """Sections 1 and 2."""
    user = mint.enter()
    assert (user.role, user.owner_id) == ("user", mint.session.user_id)
    assert user.scopes == SCOPES_OF_ROLE["user"]
    operator = mint.enter(mint.world.new_session("operator").token)
    assert (operator.role, operator.owner_id) == ("operator", None)
    assert operator.scopes == SCOPES


def test_a_changed_role_counts_with_the_next_request(mint: Mint) -> None:
    """Section 2: role and scopes are never trusted from a token."""
    change(mint, "users SET role = 'operator', version = version + 1", mint.session.user_id)
    assert mint.enter().scopes == SCOPES
    change(mint, "users SET role = 'user', version = version + 1", mint.session.user_id)
    assert mint.enter().owner_id == mint.session.user_id


def test_a_password_is_fresh_for_five_minutes(mint: Mint) -> None:
    """FRESH_AUTH_S, by the session's row: a token cannot say so itself."""
    assert mint.enter().is_fresh
    stale = mint.world.new_session(auth_age_s=301)
    assert not mint.enter(stale.token).is_fresh
    assert mint.enter(mint.world.new_session(auth_age_s=290).token).is_fresh


# --- Ended at once ------------------------------------------------------------------------------


def change(mint: Mint, update: str, target: UUID) -> None:
    assert mint.world.rows(f"UPDATE {update} WHERE id = %s RETURNING 1", target)


ENDINGS = [
    ("auth_sessions SET revoked_at = now(), revoked_reason = 'logout'", "session"),
    ("auth_sessions SET idle_expires_at = now()", "session"),
    ("auth_sessions SET absolute_expires_at = now()", "session"),
    ("users SET session_epoch = session_epoch + 1, version = version + 1", "user"),
    ("users SET status = 'disabled'", "user"),
    (
        "users SET status = 'deleted', email = NULL, email_norm = NULL, email_verified_at = NULL",
        "user",
    ),
]


@pytest.mark.parametrize(("update", "target"), ENDINGS)
def test_what_ends_a_session_ends_its_tokens_at_once(mint: Mint, update: str, target: str) -> None:
    """A41, A33."""
    assert mint.refusal() == "ok"
    ids = {"session": mint.session.session_id, "user": mint.session.user_id}
    change(mint, update, ids[target])
    assert mint.refusal() == "session_revoked"


def test_a_revoked_key_ends_its_tokens_at_once(mint: Mint) -> None:
    """A45: in every process, whatever it remembers; other keys' tokens live on."""
    assert mint.refusal() == "ok"
    mint.world.services.signing_keys.revoke("default", mint.header["kid"], "cli:test")
    assert mint.refusal() == "access_token_invalid"
    again = mint.world.services.access_tokens.issue(facts(mint.session))
    # Its key came into charge a moment ago: a process looks for unknown kids once in 5 s.
    mint.world.services.signing_keys._looked.clear()
    assert mint.refusal(again.text) == "ok"


def test_a_suspended_tenant_refuses_its_tokens(mint: Mint) -> None:
    """A3: only a credential that is good otherwise learns it."""
    mint.world.services.tenants.suspend("default", "cli:test")
    assert mint.refusal() == "tenant_suspended"
    change(mint, ENDINGS[0][0], mint.session.session_id)
    assert mint.refusal() == "session_revoked"


def test_a_request_proves_its_token_by_one_statement(mint: Mint) -> None:
    """A41."""
    mint.enter()
    before = current().db_statements
    mint.enter()
    assert current().db_statements == before + 1


# Without rows any index that begins with the tenant is as good as the right one.
FILL = """
INSERT INTO users (tenant_id, id, email, email_norm)
    SELECT 'default', gen_random_uuid(), n || '@x.de', n || '@x.de'
    FROM generate_series(1, 2000) AS n;
INSERT INTO auth_sessions (
    tenant_id, id, user_id, epoch, secret_hash, idle_expires_at, absolute_expires_at
)
    SELECT tenant_id, gen_random_uuid(), id, 0, sha256('x'), now(), now() FROM users;
INSERT INTO signing_keys (
    tenant_id, kid, alg, public_jwk, private_enc, master_key_id, active_from
)
    SELECT 'default', n::text, 'EdDSA', '{}', 'x', 'x', now() FROM generate_series(1, 2000) AS n;
ANALYZE users, auth_sessions, signing_keys
"""


def test_that_statement_goes_by_primary_keys(database_owner: str) -> None:
    """A41."""
    ids = f"'{uuid4()}', '{uuid4()}'"
    with psycopg.connect(database_owner) as conn:
        conn.execute(FILL)
        conn.execute("SET plan_cache_mode = force_generic_plan")
        conn.execute("SET enable_seqscan = off")
        conn.execute(b"PREPARE proof AS " + AUTHENTICATE.query)
        query = f"EXPLAIN EXECUTE proof ('default', {ids}, 'kid', 300)"
        plan = "\n".join(line for (line,) in conn.execute(query.encode()).fetchall())
    for index in ("tenants_pkey", "signing_keys_pkey", "auth_sessions_pkey", "users_pkey"):
        assert f"using {index}" in plan
    assert "Seq Scan" not in plan


# --- Altered ------------------------------------------------------------------------------------


@pytest.mark.parametrize("alg", ["RS256", "ES256", "EdDSA"])
def test_no_mutant_of_a_token_is_accepted(database: str, tmp_path: Path, alg: str) -> None:
    """A39: of each algorithm; 0 accepted."""
    world = World(database, tmp_path, JWT_ALG=alg)
    mint = Mint(world, world.new_session())
    assert mutants.accepted(mint.session.token, mint.accepts) == []
    world.close()


BAD_HEADERS = [
    '{"alg":"ES256","kid":"KID","typ":"at+jwt","jku":"https://example.org"}',
    '{"alg":"ES256","kid":"KID","typ":"at+jwt","x5u":"https://example.org"}',
    '{"alg":"ES256","kid":"KID","typ":"at+jwt","jwk":{}}',
    '{"alg":"ES256","kid":"KID","typ":"at+jwt","x5c":[]}',
    '{"alg":"ES256","kid":"KID","typ":"at+jwt","crit":[]}',
    '{"alg":"ES256","kid":"KID","typ":"at+jwt","b64":true}',
    '{"alg":"ES256","kid":"KID","typ":"at+jwt","cty":"x"}',
    '{"alg":"ES256","kid":"KID","typ":"at+jwt","alg":"ES256"}',
    '{"alg":"ES256","kid":"KID","typ":"JWT"}',
    '{"alg":"ES256","kid":"KID","typ":"AT+JWT"}',
    '{"alg":"ES256","kid":"KID"}',
    '{"alg":"ES256","typ":"at+jwt"}',
    '{"kid":"KID","typ":"at+jwt"}',
    '{"alg":"none","kid":"KID","typ":"at+jwt"}',
    '{"alg":"HS256","kid":"KID","typ":"at+jwt"}',
    '{"alg":"ES384","kid":"KID","typ":"at+jwt"}',
    '{"alg":"RS256","kid":"KID","typ":"at+jwt"}',
    '{"alg":"ES256","kid":"other","typ":"at+jwt"}',
    '{"alg":"ES256","kid":7,"typ":"at+jwt"}',
    '{"alg":"ES256","kid":null,"typ":"at+jwt"}',
    '{"alg":["ES256"],"kid":"KID","typ":["at+jwt"]}',
    "[]",
]


def test_a_header_has_three_members_and_no_other(mint: Mint) -> None:
    """A39: signed with our own key, and refused all the same."""
    good = '{"alg":"ES256","kid":"KID","typ":"at+jwt"}'
    signed = {
        header: mint.sign(header.replace("KID", mint.header["kid"]), mint.claims)
        for header in (good, *BAD_HEADERS)
    }
    assert [header for header, text in signed.items() if mint.accepts(text)] == [good]


def test_our_public_key_is_no_secret(mint: Mint) -> None:
    """A39: HMAC with a public key."""
    jwk = mint.world.services.signing_keys.published("default")[0]
    secrets = [json.dumps(jwk), jwk["x"], jws.decode(jwk["x"]), jws.decode(jwk["x"] + jwk["y"][:1])]
    header = mint.header | {"alg": "HS256"}
    parts = [jws.encode(json.dumps(part).encode()) for part in (header, mint.claims)]
    for secret in secrets:
        raw = secret if isinstance(secret, bytes) else secret.encode()
        signature = HMACAlgorithm(HMACAlgorithm.SHA256).sign(".".join(parts).encode(), raw)
        assert not mint.accepts(".".join([*parts, jws.encode(signature)]))


def test_other_spellings_of_a_good_token_are_refused(mint: Mint) -> None:
    """A39."""
    header, payload, signature = mint.session.token.split(".")
    padded = base64.urlsafe_b64encode(jws.decode(payload)).decode()
    for text in (
        f"{header}.{padded}=.{signature}",
        f"{header}.{payload}.{signature}=",
        f"{header}.{payload}.{signature}.",
        f"{header}.{payload}.{signature}.{signature}",
        f"{header}.{payload}",
        f"{header}.{payload}.",
        f".{payload}.{signature}",
        f"{header}..{signature}",
        f" {header}.{payload}.{signature}",
        f"{header}.{payload} .{signature}",
        mint.session.token.replace("-", "+").replace("_", "/") + "=",
        "",
        ".",
        "..",
        "...",
    ):
        assert not mint.accepts(text), text


def test_a_token_has_4096_characters_at_most(mint: Mint) -> None:
    """A39."""
    room = 4096 - len(mint.with_claims(pad=""))
    fits = mint.with_claims(pad="x" * (room * 3 // 4 - 4))
    assert len(fits) <= 4096
    assert mint.accepts(fits)
    long = mint.with_claims(pad="x" * room)
    assert len(long) > 4096
    assert not mint.accepts(long)


# --- Claims -------------------------------------------------------------------------------------

HUGE = 10**400
BAD_CLAIMS: list[tuple[str, Any]] = [
    *[(name, ...) for name in "iss aud sub client_id sid tid jti iat nbf exp auth_time".split()],  # noqa: SIM905
    *[(name, None) for name in ("iss", "aud", "sub", "sid", "tid", "jti", "iat", "exp")],
    *[(name, True) for name in ("iat", "nbf", "exp", "auth_time")],
    *[(name, "1") for name in ("iat", "nbf", "exp", "auth_time")],
    *[(name, 1.0) for name in ("iat", "nbf", "exp", "auth_time")],
    *[(name, HUGE) for name in ("iat", "nbf", "exp")],
    *[(name, -HUGE) for name in ("iat", "exp")],
    *[(name, [1]) for name in ("iat", "exp", "tid", "sid", "sub")],
    ("iss", "https://example.org"),
    ("iss", ""),
    ("aud", "another"),
    ("aud", ["strongroom"]),
    ("client_id", "somebody"),
    ("sub", "user:1"),
    ("sub", "key:0198c5a0-7d1f-7c3a-9d2e-5b6f7a8c9d0e"),
    ("sub", "user:0198C5A0-7D1F-7C3A-9D2E-5B6F7A8C9D0E"),
    ("sub", "0198c5a0-7d1f-7c3a-9d2e-5b6f7a8c9d0e"),
    ("sid", "urn:uuid:0198c5a0-7d1f-7c3a-9d2e-5b6f7a8c9d0e"),
    ("sid", "x"),
    ("tid", "acme"),
    ("tid", "Default"),
    ("tid", "default\x00"),
    ("tid", ""),
    ("jti", ""),
    ("jti", 1),
]  # fmt: skip


def test_claims_are_all_there_and_for_us(mint: Mint) -> None:
    """A40: 401, never 500; the signature is our own."""
    assert mint.accepts(mint.with_claims())
    for name, value in BAD_CLAIMS:
        text = mint.with_claims(**{name: value})
        assert mint.refusal(text) == "access_token_invalid", (name, value)


def test_claims_that_are_not_needed_may_be_left_out(mint: Mint) -> None:
    """A40: `amr`, `scope`."""
    assert mint.accepts(mint.with_claims(amr=..., scope=...))


def test_a_payload_that_is_no_plain_object_is_refused(mint: Mint) -> None:
    """A39, A40."""
    constants = ['{"exp":NaN}', '{"exp":Infinity}', '{"exp":1e400}']
    others = ["[]", "null", '"x"', "", "{", "\ufeff{}", '{"tid":"default","tid":"default"}']
    for payload in (*constants, *others, "[" * 2_000, '{"tid":"\\ud800"}', "9" * 2_900):
        assert mint.refusal(mint.sign(mint.header, payload)) == "access_token_invalid", payload


def test_a_claim_that_comes_twice_is_refused(mint: Mint) -> None:
    """A39."""
    twice = json.dumps(mint.claims)[:-1] + f', "sub": "user:{uuid4()}"}}'
    assert mint.refusal(mint.sign(mint.header, twice)) == "access_token_invalid"


def test_times_are_compared_with_the_clock_of_the_database(mint: Mint) -> None:
    """A40: leeway 5 s; expired is told apart from invalid."""
    now = mint.world.services.signing_keys.signer("default", "cli:test").now_s

    def said(**times: int) -> str:
        return mint.refusal(mint.with_claims(**{"iat": now, "nbf": now, "exp": now + 60, **times}))

    assert said() == "ok"
    assert said(iat=now - 600, nbf=now - 600, exp=now - 60) == "access_token_expired"
    assert said(iat=now - 600, nbf=now - 600, exp=now - 3) == "ok"
    assert said(nbf=now + 60) == "access_token_invalid"
    assert said(iat=now + 60, exp=now + 70) == "access_token_invalid"
    assert said(nbf=now + 3) == "ok"
    assert said(exp=now - 1) == "access_token_invalid"  # Before its own beginning.
    assert said(exp=now + 1_200) == "ok"
    assert said(exp=now + 1_201) == "access_token_invalid"


def test_an_expired_token_of_an_ended_session_is_expired(mint: Mint) -> None:
    """Whoever has a refresh token then learns the rest."""
    now = mint.world.services.signing_keys.signer("default", "cli:test").now_s
    change(mint, ENDINGS[0][0], mint.session.session_id)
    with pytest.raises(AccessTokenExpired):
        mint.enter(mint.with_claims(iat=now - 700, nbf=now - 700, exp=now - 100))


def test_a_token_of_another_user_s_session_is_refused(mint: Mint) -> None:
    """A40: subject and session belong together."""
    other = mint.world.new_session()
    text = mint.with_claims(sid=str(other.session_id))
    assert mint.refusal(text) == "session_revoked"


def test_the_key_of_one_tenant_signs_for_no_other(mint: Mint) -> None:
    """A2, A40."""
    held = mint.world.services
    held.tenants.create("acme", "Acme", "cli:test")
    theirs = mint.world.new_session("user", "acme")
    claims = jws.members(jws.read(theirs.token).payload)
    assert mint.refusal(mint.sign(mint.header, claims)) == "access_token_invalid"
    their_kid = jws.read(theirs.token).header["kid"]
    assert not mint.accepts(mint.sign(mint.header | {"kid": their_kid}, claims))
    assert not mint.accepts(mint.with_claims(iss=claims["iss"]))


def test_random_tokens_are_refused_quietly(mint: Mint) -> None:
    """A39, A40: random texts; no exception but ours. The seed is shown."""
    seed = random.SystemRandom().randrange(2**32)
    print(f"seed {seed}")  # noqa: T201
    draw = random.Random(seed)
    values: list[Any] = [0, -1, True, None, "", "x", [], {}, 1.5, HUGE, "user:x", "\x00", "é" * 9]
    for _ in range(mutants.MUTANTS // 4):
        claims = mint.claims | {draw.choice(list(mint.claims)): draw.choice(values)}
        mint.refusal(mint.sign(mint.header, claims))
        header = mint.header | {draw.choice(["alg", "kid", "typ", "x"]): draw.choice(values)}
        mint.refusal(mint.sign(header, claims))
        texts = [
            "".join(chr(draw.randrange(1, 0x2FF)) for _ in range(draw.randrange(200))),
            ".".join(jws.encode(draw.randbytes(draw.randrange(80))) for _ in range(3)),
        ]
        assert not any(mint.accepts(text) for text in texts)
