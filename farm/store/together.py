"""Changes that are made together with all others of their kind in a group, by a few statements."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future
from typing import Any, Protocol, TypeAlias, TypeVar

from sqlalchemy import Connection

F = TypeVar("F", bound=Callable[..., Any])

# Takes the arguments of each; returns what each caller is told: an exception is raised there.
Many: TypeAlias = Callable[[Connection, Sequence[tuple[Any, ...]]], Sequence[Any]]
Run: TypeAlias = Callable[[Connection], Any]


class Told(Protocol):
    """Who hears of a change, after the commit: a Future, or several at once."""

    def set_result(self, result: Any, /) -> None:
        """It was made."""
        ...

    def set_exception(self, exception: BaseException, /) -> None:
        """It was not."""
        ...


_MANY: dict[Callable[..., Any], Many] = {}


def made_by(many: Many) -> Callable[[F], F]:
    """Says that a function's changes may be made by `many`, in any order within their group."""

    def mark(one: F) -> F:
        _MANY[one] = many
        return one

    return mark


def many_of(one: Callable[..., Any]) -> Many | None:
    """What makes many of such a function's changes."""
    return _MANY.get(one)


class One:
    """A change that may be made together with others."""

    def __init__(self, many: Many, args: tuple[Any, ...]) -> None:
        self.many = many
        self.args = args

    def __call__(self, conn: Connection) -> Any:
        """Makes it alone."""
        (told,) = self.many(conn, [self.args])
        if isinstance(told, BaseException):
            raise told
        return told


class _Kind:
    """Changes of one kind, and who hears of them."""

    def __init__(self, many: Many) -> None:
        self._many = many
        self._items: list[tuple[Any, ...]] = []
        self._told: list[Future[Any]] = []

    def add(self, one: One, told: Future[Any]) -> None:
        self._items.append(one.args)
        self._told.append(told)

    def __call__(self, conn: Connection) -> Sequence[Any]:
        return self._many(conn, self._items)

    def set_result(self, result: Sequence[Any], /) -> None:
        for told, each in zip(self._told, result, strict=True):
            if isinstance(each, BaseException):
                told.set_exception(each)
            else:
                told.set_result(each)

    def set_exception(self, exception: BaseException, /) -> None:
        for told in self._told:
            told.set_exception(exception)


def join(changes: Iterable[tuple[Run, Future[Any]]]) -> list[tuple[Run, Told]]:
    """The same changes, those of one kind as one: in the place of the first."""
    joined: list[tuple[Run, Told]] = []
    kinds: dict[Many, _Kind] = {}
    for fn, told in changes:
        if not isinstance(fn, One):
            joined.append((fn, told))
            continue
        if fn.many not in kinds:
            kind = kinds[fn.many] = _Kind(fn.many)
            joined.append((kind, kind))
        kinds[fn.many].add(fn, told)
    return joined
