"""The page of errors is made from the code."""

from __future__ import annotations

from click.testing import CliRunner

from commands.errors import errors_page
from errors import all_errors
from services.payment_postings import AccountsMissing
from tests.contract.tree import ROOT


def test_the_page_of_errors_is_what_the_code_says() -> None:
    """AT6, AF1: `flask errors-page > docs/errors.md`."""
    shown = CliRunner().invoke(errors_page)
    assert shown.exit_code == 0
    assert (ROOT / "docs" / "errors.md").read_text("utf-8") == shown.output


def test_the_page_names_every_code_once() -> None:
    """AF1: an error that a service keeps to itself is not on it."""
    shown = CliRunner().invoke(errors_page).output
    public = all_errors()
    assert {shown.count(f"\n| `{error.code}` | ") for error in public} == {1}
    assert AccountsMissing.code not in shown
