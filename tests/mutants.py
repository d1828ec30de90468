"""Texts that are nearly a good one. FUZZ_MUTANTS sets how many of each; FUZZ_SEED repeats a run."""

from __future__ import annotations

import os
import random
import string
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

URL_SAFE = string.ascii_letters + string.digits + "-_"
FOREIGN = URL_SAFE + ".=+/ %\n\x00é\u2028"
MUTANTS = int(os.environ.get("FUZZ_MUTANTS", "500"))


def accepted(text: str, accepts: Callable[[str], bool]) -> list[str]:
    """Try FUZZ_MUTANTS of a text, and each last character; return what is accepted like it."""
    seed = int(os.environ.get("FUZZ_SEED", "0")) or random.SystemRandom().randrange(1, 2**32)
    print(f"FUZZ_SEED={seed}")  # noqa: T201  # pytest shows it if the test fails.
    assert accepts(text)
    ends = (text[:-1] + each for each in URL_SAFE)
    tried = {*mutants(text, random.Random(seed)), *ends} - {text}
    return sorted(each for each in tried if accepts(each))


def mutants(text: str, draw: random.Random) -> Iterator[str]:
    """Yield texts that differ in one character: changed, left out, put in, twice."""
    for _ in range(MUTANTS):
        place = draw.randrange(len(text))
        yield draw.choice(
            [
                text[:place] + draw.choice(URL_SAFE) + text[place + 1 :],
                text[:place] + text[place + 1 :],
                text[:place] + draw.choice(FOREIGN) + text[place:],
                text[:place] + text[place] + text[place:],
            ]
        )
