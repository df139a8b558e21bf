"""The text of a token."""

from __future__ import annotations

import pytest

from farm.jobs.token_text import TokenText


def test_a_token_is_read_as_it_was_made() -> None:
    made = TokenText.make()

    assert TokenText.read(str(made)) == made
    assert len(bytes.fromhex(made.secret)) == 32
    assert made.secret not in repr(made)
    assert made.secret not in made.secret_sha256


def test_no_two_tokens_are_the_same() -> None:
    made = [TokenText.make() for _ in range(100)]
    assert len({text.id for text in made}) == len({text.secret for text in made}) == 100


GOOD = f"svdfarm_{'a' * 12}_{'b' * 64}"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "svdfarm__",
        GOOD[:-1],
        GOOD + "b",
        GOOD + "\n",
        " " + GOOD,
        GOOD.upper(),
        GOOD.replace("b", "٣"),
        GOOD.replace("svdfarm", "farm"),
    ],
)
def test_a_text_that_is_no_token_is_none(text: str) -> None:
    assert TokenText.read(GOOD) is not None
    assert TokenText.read(text) is None
