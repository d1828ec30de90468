"""Accounts: opened once, limited, striped, frozen and closed, found by prefix (LA1 to LA9, LS5)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

import pytest

from errors import (
    AccountCodeInvalid,
    AccountCodeReserved,
    AccountExists,
    AccountNotEmpty,
    AppError,
    CurrencyAmbiguous,
    CurrencyUnsupported,
    CursorInvalid,
    LimitBelowBalance,
    NotFound,
    UserNotFound,
    ValidationFailed,
    VersionMismatch,
)
from persistence.db import Database, DbSettings
from services.actors import Actor
from services.canonical_json import digest
from services.currencies import Currencies
from services.cursors import Cursors
from services.ledger_accounts import AccountFilters, LedgerAccounts, Opening
from services.ledger_writes import LedgerWrites
from tests.book import TENANT, Book

if TYPE_CHECKING:
    from collections.abc import Iterator

CASH = "shops:42:cash"


@pytest.fixture
def db(database: str) -> Iterator[Database]:
    opened = Database(database, DbSettings(pool_size=1))
    yield opened
    opened.close()


@pytest.fixture
def accounts(db: Database, book: Book) -> LedgerAccounts:
    return accounts_of(db)


def accounts_of(db: Database, scan_rows: int = 1000) -> LedgerAccounts:
    writes = LedgerWrites(db, backdate_max_days=366, new_id=uuid4, stripe=lambda: 0)
    return LedgerAccounts(db, writes, Cursors(b"s" * 32), Currencies(db), scan_rows)


@pytest.fixture
def book(database_owner: str) -> Iterator[Book]:
    with Book(database_owner) as made:
        yield made


def actor(owner_id: UUID | None = None, tenant_id: str = TENANT) -> Actor:
    return Actor(tenant_id, "key:1", frozenset({"ledger:read"}), owner_id=owner_id)


def opening(code: str = CASH, **more: Any) -> Opening:
    given: dict[str, Any] = {"currency": "EUR", "normal_side": "credit", **more}
    return Opening(code=code, **given)


def opened(accounts: LedgerAccounts, code: str = CASH, **more: Any) -> dict[str, Any]:
    account, is_new = accounts.create(TENANT, opening(code, **more))
    assert is_new
    return account


def change(accounts: LedgerAccounts, code: str = CASH, **changes: Any) -> dict[str, Any]:
    return accounts.change(TENANT, code, None, changes, "cli:test")


def remember(book: Book, *codes: str) -> None:
    """Let the book post to accounts that the service has opened."""
    for code, account_id in book.run("SELECT code, account_id FROM ledger_accounts"):
        if code in codes:
            book._ids[code] = account_id


# --- Opening ------------------------------------------------------------------------------------


def test_an_account_has_what_it_was_opened_with(accounts: LedgerAccounts) -> None:
    """LA1, LA5: floor 0 unless asked otherwise, no ceiling."""
    account = opened(accounts, normal_side="debit", name="Cash", metadata={"till": "1"})

    assert (account.pop("created_at"), account.pop("updated_at")) != (None, None)
    assert account == {
        "code": CASH, "currency": "EUR", "name": "Cash", "normal_side": "debit", "status": "open",
        "floor_minor": 0, "floor_decimal": "0.00", "ceiling_minor": None, "ceiling_decimal": None,
        "stripes": 1, "owner_user_id": None, "metadata": {"till": "1"}, "version": 1,
        "balance": {
            "posted_minor": 0, "posted_decimal": "0.00", "available_minor": 0,
            "available_decimal": "0.00", "reachable_minor": 0, "reachable_decimal": "0.00",
            "version": 0,
        },
    }  # fmt: skip


def test_the_same_account_again_is_harmless(accounts: LedgerAccounts) -> None:
    """LA7: a lost answer may be asked for again; another account under its name may not."""
    first = opened(accounts, metadata={"a": "1"}, floor_minor=-5)

    again, is_new = accounts.create(TENANT, opening(metadata={"a": "1"}, floor_minor=-5))

    assert (again, is_new) == (first, False)
    same: dict[str, Any] = {"metadata": {"a": "1"}, "floor_minor": -5}
    for other in ({"floor_minor": 0}, {"normal_side": "debit"}, {"name": "x"}, {"stripes": 2}):
        with pytest.raises(AccountExists):
            accounts.create(TENANT, opening(**{**same, **other}))


def test_a_code_has_an_account_per_currency(accounts: LedgerAccounts) -> None:
    """LA1: (code, currency) is the account."""
    opened(accounts)
    opened(accounts, currency="JPY", floor_minor=None)

    with pytest.raises(CurrencyAmbiguous):
        accounts.get(actor(), CASH)
    assert accounts.get(actor(), CASH, "JPY")["floor_minor"] is None


@pytest.mark.parametrize(
    "code",
    ["", "A", "a:", ":a", "a::b", "a b", "-a", "ä", "a:B", ":".join("a" * 11), "a" * 64,
     ":".join(["a" * 63] * 4) + ":a"],
)  # fmt: skip
def test_a_code_that_is_none_is_refused(accounts: LedgerAccounts, code: str) -> None:
    """LA2."""
    with pytest.raises(AccountCodeInvalid):
        accounts.create(TENANT, opening(code))


@pytest.mark.parametrize(
    "code", ["a", "0", "a.b_c-d", ":".join("a" * 10), "a" * 63, ":".join(["a" * 63] * 3) + ":a"]
)
def test_a_code_of_legal_segments_is_taken(accounts: LedgerAccounts, code: str) -> None:
    """LA2: 1 to 10 segments, 255 bytes in all."""
    assert opened(accounts, code)["code"] == code


@pytest.mark.parametrize("code", ["users:1:available", "gateways:x", "platform", "platform:fees"])
def test_the_services_own_codes_are_reserved(accounts: LedgerAccounts, code: str) -> None:
    """LA7."""
    with pytest.raises(AccountCodeReserved):
        accounts.create(TENANT, opening(code))


@pytest.mark.parametrize("currency", ["XXX", "XAU", "ABC", "DEM"])
def test_a_currency_that_nobody_pays_in_is_refused(accounts: LedgerAccounts, currency: str) -> None:
    """P4."""
    with pytest.raises(CurrencyUnsupported):
        accounts.create(TENANT, opening(currency=currency))


@pytest.mark.parametrize(
    ("more", "error"),
    [
        ({"floor_minor": 1}, LimitBelowBalance),
        ({"ceiling_minor": -1}, LimitBelowBalance),
        ({"stripes": 2, "ceiling_minor": 5}, ValidationFailed),
        ({"owner_user_id": uuid4()}, UserNotFound),
    ],
)
def test_what_no_account_can_be_is_refused(
    accounts: LedgerAccounts, more: dict[str, Any], error: type[AppError]
) -> None:
    """LA5, LA6, LS2: its balance is 0; no stripe knows the others; its owner exists."""
    with pytest.raises(error):
        accounts.create(TENANT, opening(**more))


@pytest.mark.parametrize(
    ("floor_minor", "floors"), [(-500, [-500, 0, 0]), (0, [0, 0, 0]), (None, [None] * 3)]
)
def test_the_first_stripe_carries_the_floor(
    accounts: LedgerAccounts, book: Book, floor_minor: int | None, floors: list[int | None]
) -> None:
    """LS2: each keeps its own, so the sum keeps the account's."""
    account = opened(accounts, stripes=3, floor_minor=floor_minor)

    rows = book.run("SELECT floor FROM ledger_balances ORDER BY stripe")
    assert [floor for (floor,) in rows] == floors
    assert account["floor_minor"] == floor_minor


# --- Reading ------------------------------------------------------------------------------------


def codes(
    accounts: LedgerAccounts, limit: int = 50, who: Actor | None = None, **filters: Any
) -> list[str]:
    """Follow the cursors; codes with their currency where it is not EUR."""
    found, cursor = [], None
    while True:
        rows, cursor = accounts.page(who or actor(), AccountFilters(**filters), limit, cursor)
        found += [r["code"] + r["currency"].removeprefix("EUR") for r in rows]
        if cursor is None:
            return found


def test_a_prefix_is_all_below_it(accounts: LedgerAccounts) -> None:
    """LA3: the code is the hierarchy."""
    for code in ("shops:42:cash", "shops:42:cash:till", "shops:421", "shops:42", "bank"):
        opened(accounts, code)

    assert codes(accounts, prefix="shops:42:") == ["shops:42:cash", "shops:42:cash:till"]
    assert codes(accounts, prefix="shops:") == [
        "shops:42", "shops:421", "shops:42:cash", "shops:42:cash:till",
    ]  # fmt: skip
    assert codes(accounts, prefix="none:") == []


@pytest.mark.parametrize("limit", [1, 2, 7])
def test_pages_hold_every_account_once(accounts: LedgerAccounts, limit: int) -> None:
    """LQ1: the key is (code, currency)."""
    for currency in ("USD", "EUR", "JPY"):
        for code in ("b", "a", "c"):
            opened(accounts, code, currency=currency)

    assert codes(accounts, limit) == [
        "a", "aJPY", "aUSD", "b", "bJPY", "bUSD", "c", "cJPY", "cUSD",
    ]  # fmt: skip


@pytest.mark.parametrize("scan_rows", [1, 2, 5])
def test_a_filtered_page_looks_no_further_than_it_may(
    db: Database, book: Book, scan_rows: int
) -> None:
    """LQ3: it may be short or empty while there is a next one; nothing is left out."""
    accounts = accounts_of(db, scan_rows)
    for number in range(7):
        opened(accounts, f"a{number}", metadata={"odd": str(number % 2)})

    assert codes(accounts, 2, metadata={"odd": "1"}) == ["a1", "a3", "a5"]


def test_filters_are_joined_by_and(accounts: LedgerAccounts, book: Book) -> None:
    """LQ3."""
    user_id = _user(book)
    opened(accounts, "a", metadata={"x": "1", "y": "2"})
    opened(accounts, "b", owner_user_id=user_id)
    opened(accounts, "c", currency="USD")
    change(accounts, "a", status="frozen")

    assert codes(accounts, currency="USD") == ["cUSD"]
    assert codes(accounts, status="frozen") == ["a"]
    assert codes(accounts, status="frozen", metadata={"x": "1"}) == ["a"]
    assert codes(accounts, status="open", metadata={"x": "1"}) == []
    assert codes(accounts, owner_user_id=user_id) == ["b"]


def test_an_owner_sees_their_own_accounts_only(accounts: LedgerAccounts, book: Book) -> None:
    """LA6."""
    user_id = _user(book)
    opened(accounts, "mine", owner_user_id=user_id)
    opened(accounts, "house")

    assert codes(accounts, who=actor(user_id)) == ["mine"]
    assert codes(accounts, who=actor(user_id), owner_user_id=uuid4()) == ["mine"]
    assert accounts.get(actor(user_id), "mine")["code"] == "mine"
    with pytest.raises(NotFound):
        accounts.get(actor(user_id), "house")


def test_another_tenants_accounts_are_not_there(accounts: LedgerAccounts) -> None:
    """A2."""
    opened(accounts)

    with pytest.raises(NotFound):
        accounts.get(actor(tenant_id="default"), CASH)
    assert codes(accounts, who=actor(tenant_id="default")) == []


def test_a_cursor_serves_its_own_list_only(accounts: LedgerAccounts) -> None:
    """P45."""
    for code in ("a", "b"):
        opened(accounts, code)
    _, cursor = accounts.page(actor(), AccountFilters(), 1)

    with pytest.raises(CursorInvalid):
        accounts.page(actor(), AccountFilters(prefix="a"), 1, cursor)


def _user(book: Book) -> UUID:
    user_id = uuid4()
    book.run(
        "INSERT INTO users (tenant_id, id, email, email_norm) VALUES (%s, %s, %s, %s)",
        TENANT, user_id, f"{user_id}@x.de", f"{user_id}@x.de",
    )  # fmt: skip
    return user_id


# --- Changing -----------------------------------------------------------------------------------


def test_what_is_not_named_stays(accounts: LedgerAccounts, book: Book) -> None:
    """LA8, P14: metadata is merged, null removes a name."""
    user_id = _user(book)
    opened(accounts, name="Cash", floor_minor=-5, metadata={"a": "1", "b": "2"})

    account = change(accounts, metadata={"a": None, "c": "3"}, owner_user_id=user_id, name="Till 1")

    assert account["metadata"] == {"b": "2", "c": "3"}
    assert (account["name"], account["floor_minor"], account["owner_user_id"]) == (
        "Till 1", -5, user_id,
    )  # fmt: skip
    assert account["version"] == 2
    assert change(accounts, owner_user_id=None)["owner_user_id"] is None


def test_merged_metadata_stays_small(accounts: LedgerAccounts) -> None:
    """P14: 50 names, 8 KiB, however many changes there are."""
    opened(accounts, metadata={f"n{number}": "" for number in range(49)})

    change(accounts, metadata={"n49": ""})
    for patch in ({"n50": ""}, {f"n{number}": "x" * 500 for number in range(20)}):
        with pytest.raises(ValidationFailed):
            change(accounts, metadata=patch)


def test_a_change_of_nothing_changes_nothing(accounts: LedgerAccounts, book: Book) -> None:
    """LA8: neither version nor transaction."""
    opened(accounts, floor_minor=-5)

    assert change(accounts, floor_minor=-5, status="open")["version"] == 1
    assert book.run("SELECT count(*) FROM ledger_transactions") == [(0,)]


def test_status_and_limits_leave_a_transaction(accounts: LedgerAccounts, book: Book) -> None:
    """LA8: of kind `change`, legless, with before, after and actor; a name leaves none."""
    opened(accounts)
    change(accounts, name="other")
    assert book.run("SELECT count(*) FROM ledger_transactions") == [(0,)]

    change(accounts, status="frozen", floor_minor=None, ceiling_minor=500)

    ((kind, legs, logged, stored_hash, who),) = book.run(
        "SELECT kind::text, cardinality(amounts), metadata, metadata_hash, actor"
        " FROM ledger_transactions"
    )
    assert logged == {
        "account": CASH, "currency": "EUR", "status_before": "open", "status_after": "frozen",
        "floor_minor_before": "0", "floor_minor_after": "none",
        "ceiling_minor_before": "none", "ceiling_minor_after": "500",
    }  # fmt: skip
    assert (kind, legs, stored_hash, who) == ("change", 0, digest(logged), "cli:test")


def test_a_change_is_posted_after_the_accounts_entries(
    accounts: LedgerAccounts, book: Book
) -> None:
    """LP4: even if the clock stands back."""
    opened(accounts)
    book.open("bank", side=-1)
    remember(book, CASH)
    book.post(("bank", CASH, 5), at=book.now.replace(year=2999))

    change(accounts, status="frozen")

    ((later,),) = book.run(
        "SELECT max(posted_at) FILTER (WHERE kind = 'change')"
        " > max(posted_at) FILTER (WHERE kind = 'post') FROM ledger_transactions"
    )
    assert later


def test_if_match_guards_a_change(accounts: LedgerAccounts) -> None:
    """Section 9: 412 with the present version."""
    opened(accounts)

    account = accounts.change(TENANT, CASH, "EUR", {"name": "x"}, "cli:test", if_match=1)
    with pytest.raises(VersionMismatch) as raised:
        accounts.change(TENANT, CASH, "EUR", {"name": "y"}, "cli:test", if_match=1)

    assert account["version"] == raised.value.members["current_version"] == 2


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"floor_minor": 701}, LimitBelowBalance),
        ({"ceiling_minor": 999}, LimitBelowBalance),
        ({"status": "closed"}, AccountNotEmpty),
        ({"owner_user_id": uuid4()}, UserNotFound),
        ({"stripes": 2, "ceiling_minor": 5000}, ValidationFailed),
    ],
)
def test_what_the_present_balance_breaks_is_refused(
    accounts: LedgerAccounts, book: Book, changes: dict[str, Any], error: type[AppError]
) -> None:
    """LA8, LA9: 1,000 posted, 300 of it reserved; nothing changes."""
    opened(accounts)
    book.open("bank", side=-1)
    remember(book, CASH)
    book.post(("bank", CASH, 1000))
    book.hold(CASH, "bank", 300)
    before = accounts.get(actor(), CASH)

    with pytest.raises(error):
        change(accounts, **changes)

    assert accounts.get(actor(), CASH) == before
    assert change(accounts, floor_minor=700, ceiling_minor=1000)["version"] == 2


def test_a_closed_account_may_be_opened_again(accounts: LedgerAccounts) -> None:
    """LA9: it is empty."""
    opened(accounts)

    assert [change(accounts, status=s)["status"] for s in ("frozen", "open", "closed", "open")] == [
        "frozen", "open", "closed", "open",
    ]  # fmt: skip


def test_what_is_reserved_keeps_an_account_from_closing(
    accounts: LedgerAccounts, book: Book
) -> None:
    """LA9: nothing is posted on either, but money may still come."""
    opened(accounts)
    book.open("bank", side=-1)
    remember(book, CASH)
    book.hold("bank", CASH, 5)

    with pytest.raises(AccountNotEmpty):
        change(accounts, status="closed")


def test_stripes_grow_and_never_shrink(accounts: LedgerAccounts, book: Book) -> None:
    """LS5: new rows with floor 0, of the account's status; the balance stays."""
    opened(accounts, floor_minor=-50)
    book.open("bank", side=-1)
    remember(book, CASH)
    book.post((CASH, "bank", 30))
    change(accounts, status="frozen")

    account = change(accounts, stripes=4)

    assert (account["stripes"], account["balance"]["available_minor"]) == (4, -30)
    rows = book.run(
        "SELECT b.floor, b.status::text FROM ledger_balances AS b JOIN ledger_accounts AS a"
        " USING (account_id) WHERE a.code = %s ORDER BY b.stripe", CASH,
    )  # fmt: skip
    assert rows == [(-50, "frozen"), (0, "frozen"), (0, "frozen"), (0, "frozen")]
    with pytest.raises(ValidationFailed):
        change(accounts, stripes=2)


def test_an_account_that_is_not_there_cannot_be_changed(accounts: LedgerAccounts) -> None:
    """LA1: nor guessed among several."""
    with pytest.raises(NotFound):
        change(accounts, name="x")
    opened(accounts)
    opened(accounts, currency="USD")
    with pytest.raises(CurrencyAmbiguous):
        change(accounts, name="x")
