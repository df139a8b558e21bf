"""Names of videos, shots and templates that mean harm."""

from __future__ import annotations

from collections.abc import Iterator

from tests.hostile.case import Case, Verdict

TAKEN, REFUSED, EITHER = Verdict.TAKEN, Verdict.REFUSED, Verdict.EITHER

NameCase = Case[str]

_ESCAPES = (
    "..",
    ".",
    "...",
    "../x",
    "..\\x",
    "../../etc/passwd",
    "/etc/passwd",
    "//x",
    "\\\\host\\share",
    "C:\\x",
    "C:x",
    "a/../b",
    "a/b",
    "a\\b",
    "./x",
    "~",
    "~root",
    "$HOME",
    "${HOME}",
    "%TEMP%",
    "`id`",
    "$(id)",
    "a;id",
    "a|id",
    "a&id",
    "a>b",
    "a<b",
    "a*b",
    "a?b",
    "a[b",
    "a{b",
    "a'b",
    'a"b',
    "a b",
    " a",
    "a ",
    "a\tb",
    "a\nb",
    "a\rb",
    "a\0b",
    "\0",
    "a\x07b",
    "a\x1b[2Jb",
    "a\x7fb",
    "a\x85b",
    "a:b",
    "a::$DATA",
    "%2e%2e%2f",
    "..%2f",
    "..;/",
    "a%00b",
)
_LETTERS = {
    "right to left": "a\u202egpj",
    "left to right": "a\u200eb",
    "joined": "a\u200db",
    "nothing": "a\u200bb",
    "mark": "\ufeffa",
    "slash": "a\u2215b",
    "wide slash": "a\uff0fb",
    "wide dots": "\uff0e\uff0e",
    "one dot leader": "\u2024\u2024",
    "cyrillic": "\u0430",
    "greek": "\u03b1",
    "wide": "\uff41",
    "accent": "e\u0301",
    "composed": "\u00e9",
    "digit": "\u0665",
    "emoji": "\U0001f680",
    "surrogate": "\ud800",
    "line": "a\u2028b",
    "space": "a\u00a0b",
    "private": "\ue000",
    "last": "\U0010ffff",
    "dotless": "\u0131",
    "ligature": "\ufb01",
    "circle": "\u24d0",
    "kelvin": "\u212a",
}
_HIDDEN = (".x", "..x", ".ssh", ".git", ".bashrc")


def output_names() -> Iterator[NameCase]:
    """Names of videos, with and without an ending."""
    for bad in (*_ESCAPES, *_HIDDEN):
        yield Case(f"video {bad!r}", bad, REFUSED)
        yield Case(f"video {bad!r}.mp4", f"{bad}.mp4", REFUSED)
    for name, letters in _LETTERS.items():
        yield Case(f"video of {name}", f"{letters}.mp4", REFUSED)
        yield Case(f"ending of {name}", f"a.mp4{letters}", REFUSED)
    for bad in (
        "",
        "a",
        "a.",
        "a.exe",
        "a.mp4.exe",
        "a.MP4",
        "a.mp4 ",
        "a.mp4\n",
        "a.mp4/",
        "a.mp4\0.png",
        "mp4",
    ):
        yield Case(f"video {bad!r}", bad, REFUSED)
    for size in (121, 256, 5000, 10**6):
        yield Case(f"video of {size} bytes", "a" * (size - 4) + ".mp4", REFUSED)
    for good in (
        "a.mp4",
        "-rf.mp4",
        "--help.mp4",
        "CON.mp4",
        "a..b.mp4",
        "a.tar.gz.mp4",
        "a" * 116 + ".mp4",
        "_.zip",
    ):
        yield Case(f"video {good[:20]!r}", good, TAKEN)


def shot_names() -> Iterator[NameCase]:
    """Names of shots."""
    for bad in (*_ESCAPES, *_HIDDEN, *_LETTERS.values(), "", "a" * 129, "a" * 10**6):
        yield Case(f"shot {bad[:20]!r}", bad, REFUSED)
    for good in ("a", "-rf", "a..b", "a" * 128, "0", "NUL", "_", "A-b_c.9"):
        yield Case(f"shot {good[:20]!r}", good, TAKEN)


def templates() -> Iterator[NameCase]:
    """Templates of videos' names."""
    for bad in (*_ESCAPES, *_LETTERS.values()):
        yield Case(f"template {bad!r}", f"{bad}{{shot}}.mp4", REFUSED)
    for bad in (
        "{shot.__class__}.mp4",
        "{shot.__class__.__mro__}.mp4",
        "{shot[0]}.mp4",
        "{0}.mp4",
        "{}.mp4",
        "{shot!r}.mp4",
        "{shot!s}.mp4",
        "{shot:x}.mp4",
        "{seed:999999999d}.mp4",
        "{shot:{seed}}.mp4",
        "{unknown}.mp4",
        "{SHOT}.mp4",
        "{shot",
        "shot}",
        "{{shot}}.mp4",
        "{",
        "}",
        "}{",
        "{shot}{",
        "{ shot }.mp4",
        "{shot}.{shot}",
        "{fit}",
        "{__class__}.mp4",
        "{shot}" * 200 + ".mp4",
        "{" * 1000,
        "{shot}" * 100_000,
        "",
        ".{extension}",
        "{extension}",
    ):
        yield Case(f"template {bad[:30]!r}", bad, REFUSED)
    for good in ("{shot}.mp4", "{shot}.{extension}", "{index}-{seed}.mp4", "-{shot}.mp4", "x.mp4"):
        yield Case(f"template {good!r}", good, TAKEN)


def stems() -> Iterator[NameCase]:
    """Names of image files, each of which must give the name of a shot."""
    for odd in (*_ESCAPES, *_HIDDEN, *_LETTERS.values(), "", "a" * 10**5, "-" * 300, "." * 300):
        yield Case(f"image {odd[:20]!r}", odd, TAKEN if len(odd) < 129 else EITHER)
