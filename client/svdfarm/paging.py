"""Lists that come in pages."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Iterable
from typing import Protocol, TypeVar

import grpc

from svdfarm.connection import Connection

PAGE_SIZE = 1000  # the most that the farm gives


class _AsksForPage(Protocol):
    page_token: str


class _IsPage(Protocol):
    next_page_token: str


Item = TypeVar("Item")
Request = TypeVar("Request", bound=_AsksForPage)
Page = TypeVar("Page", bound=_IsPage)


async def list_all(
    connection: Connection,
    method: grpc.UnaryUnaryMultiCallable[Request, Page],
    request: Request,
    items: Callable[[Page], Iterable[Item]],
) -> AsyncGenerator[Item, None]:
    """Every item of every page; a page is asked for when its first item is."""
    while True:
        page = await connection.call(method, request)
        for item in items(page):
            yield item
        if not page.next_page_token:
            return
        request.page_token = page.next_page_token
