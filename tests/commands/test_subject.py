"""Who runs a command."""

from __future__ import annotations

from typing import TYPE_CHECKING

from commands.subject import subject

if TYPE_CHECKING:
    import pytest


def test_a_user_without_a_name_is_told_by_number(monkeypatch: pytest.MonkeyPatch) -> None:
    def nameless() -> str:
        raise KeyError

    monkeypatch.setattr("getpass.getuser", nameless)
    monkeypatch.setattr("os.getuid", lambda: 4711)
    assert subject() == "cli:4711"


def test_a_user_with_a_name_is_told_by_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("getpass.getuser", lambda: "ada")
    assert subject() == "cli:ada"
