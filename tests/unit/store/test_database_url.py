from __future__ import annotations

import pytest

from farm.store.errors import DatabaseUrlInvalid
from farm.store.postgres import read_url


@pytest.mark.parametrize("scheme", ["postgresql", "postgres", "postgresql+psycopg"])
def test_a_url_is_read_and_hides_its_password(scheme: str) -> None:
    url = read_url(f"{scheme}://user:s3cret@host:5433/farm?sslmode=require")
    assert (url.drivername, url.password) == ("postgresql+psycopg", "s3cret")
    assert "s3cret" not in f"{url} {url!r}"


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ("mysql://user:s3cret@host/farm", "begins with mysql://; allowed: postgresql://"),
        ("sqlite:///farm.db", "SQLite file in its data folder"),
        ("postgresql://user:s3cret@host", "names no database"),
        ("postgresql://user:s3cret@host:many/farm", "cannot be read"),
        ("s3cret", "cannot be read"),
        ("postgresql://user:s3cret@host/farm?pool=3", 'invalid connection option "pool"'),
    ],
)
def test_a_url_that_cannot_be_used_is_refused_in_words(given: str, told: str) -> None:
    with pytest.raises(DatabaseUrlInvalid, match=told) as refused:
        read_url(given)
    assert "s3cret" not in str(refused.value)
