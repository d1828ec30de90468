"""Slots: so many work at once, the next waits a little, and nobody waits where nobody leaves."""

from __future__ import annotations

import threading
import time

import pytest

from blueprints.slots import Slots
from errors import Overloaded

LONG_MS = 30_000


def test_one_waits_for_a_slot_that_comes_back() -> None:
    """OS1."""
    slots = Slots("slots", 1, LONG_MS)
    slots.take()
    threading.Timer(0.01, slots.give_back).start()
    slots.take()


def test_full_slots_are_refused_after_the_wait() -> None:
    """OS1."""
    slots = Slots("slots", 2, 1)
    slots.take()
    slots.take()
    with pytest.raises(Overloaded):
        slots.take()


def test_where_one_waited_in_vain_the_next_does_not_wait() -> None:
    """OH1: else the two spare threads wait, and no probe is answered."""
    slots = Slots("slots", 1, 1)
    slots.take()
    with pytest.raises(Overloaded):
        slots.take()
    slots._wait_s = LONG_MS / 1000
    began = time.monotonic()
    with pytest.raises(Overloaded):
        slots.take()
    assert time.monotonic() - began < LONG_MS / 1000
    slots.give_back()
    slots.take()


def test_a_slot_given_back_twice_is_a_bug() -> None:
    slots = Slots("slots", 1, 1)
    with pytest.raises(ValueError, match="released too many times"):
        slots.give_back()
