"""Files called jobs.yaml that mean harm; each is read beside one image, a.png."""

from __future__ import annotations

from collections.abc import Iterator

from farm.cli.jobs_file.keys import PARAM_KEYS
from tests.hostile.case import Case, Verdict

TAKEN, REFUSED, EITHER = Verdict.TAKEN, Verdict.REFUSED, Verdict.EITHER
SHOTS = "shots: [{image: a.png}]\n"

FileCase = Case[bytes]

_NUMBERS = (
    ".nan",
    ".inf",
    "-.inf",
    "-1",
    "1e999",
    "1_0",
    "0x10",
    "0o17",
    "9" * 400,
    "9" * 5000,
    "1e-999",
)
_NOT_NUMBERS = (
    '"5"',
    "five",
    "true",
    "null",
    "2026-01-01",
    "[1]",
    "{a: 1}",
    "",
    "'\u0665'",
    "1:30",
)


def all_cases() -> Iterator[FileCase]:
    """Every one, in an order that never changes."""
    for name, text, verdict in (*_structure(), *_values(), *_names(), *_sweeps()):
        yield Case(name, text.encode("utf-8", "surrogatepass"), verdict)
    yield from _bytes()


def _structure() -> Iterator[tuple[str, str, Verdict]]:
    yield "plain", SHOTS, TAKEN
    for opening, closing in ("[]", ("{a: ", "}"), ("- ", ""), ("? ", "")):
        for depth in (33, 500, 5000, 100_000):
            yield f"{opening}, {depth} deep", opening * depth + closing * depth, REFUSED
            deep = f"name: {opening * depth}x{closing * depth}\n" if closing else opening * depth
            yield f"{opening}, {depth} deep in a value", SHOTS + deep, REFUSED
    laughs = "a: &a [x, x, x, x, x, x, x, x, x]\n"
    for last, name in zip("abcdefgh", "bcdefghi", strict=True):
        laughs += f"{name}: &{name} [{', '.join([f'*{last}'] * 9)}]\n"
    yield "a thousand million laughs", laughs, REFUSED
    yield "an alias of itself", "shots: &a [*a]\n", REFUSED
    yield "an anchor", "shots: [&a {image: a.png}]\n", REFUSED
    yield "a merge", "x: &x {image: a.png}\nshots: [{<<: *x}]\n", REFUSED
    yield "a merge without alias", "shots: [{<<: {image: a.png}}]\n", REFUSED
    for tag in (
        "!!python/object/apply:os.system [id]",
        "!!python/object/new:os.system [id]",
        "!!python/name:os.system ''",
        "!!python/module:os ''",
        "!!python/tuple [1]",
        "!!binary aGk=",
        "!!str x",
        "!!int 5",
        "!!float 5",
        "!!set {a, b}",
        "!!omap [a: 1]",
        "!!timestamp 2026-01-01",
        "!!null ''",
        "!!map {}",
        "! x",
        "!env HOME",
        "!include /etc/passwd",
        "!<tag:yaml.org,2002:python/name:os> x",
    ):
        yield f"tag {tag}", f"{SHOTS}name: {tag}\n", REFUSED
        yield f"tag {tag} as the image", f"shots: [{{image: {tag}}}]\n", REFUSED
        yield f"tag {tag} as a key", f"{SHOTS}{tag}: x\n", REFUSED
    for key in ("name", "shots", "priority", "defaults", "output"):
        yield f"{key} twice", f"{SHOTS}{key}: x\n{key}: y\n", REFUSED
    yield "a shot's key twice", "shots: [{image: a.png, image: a.png}]\n", REFUSED
    for key in (
        "__class__",
        "eval",
        "<<",
        "=",
        "~",
        "1",
        "true",
        "[a]",
        "{a: b}",
        "? a",
        "\u202ename",
    ):
        yield f"key {key}", f"{SHOTS}{key}: x\n", REFUSED
    for text in (
        "",
        " ",
        "\n",
        "---",
        "...",
        "x",
        "1",
        "[]",
        "- a",
        "null",
        "%YAML 9.9\n---\nx: 1",
    ):
        yield f"all of {text!r}", text, REFUSED
    yield "two documents", f"{SHOTS}---\n{SHOTS}", REFUSED
    yield "a directive", f"%TAG ! tag:x,2026:\n---\n{SHOTS}", EITHER
    yield "a million keys", "".join(f"k{i}: 1\n" for i in range(80_000)), REFUSED
    yield "many shots", "shots:\n" + "- {image: a.png}\n" * 10_001, REFUSED
    yield "1 MiB and more", SHOTS + "#" * 2**20, REFUSED
    yield "1 MiB of text", SHOTS + "name: " + "x" * (2**20 - 100), REFUSED
    yield "1 MiB of comment", SHOTS + "#" * (2**20 - 100), TAKEN
    yield "1 MiB of brackets", "[" * (2**20 - 1), REFUSED
    yield "1 MiB of colons", ":" * (2**20 - 1), REFUSED
    yield "1 MiB of quotes", "'" * (2**20 - 1), REFUSED
    yield "1 MiB of dashes", "- " * (2**19 - 1), REFUSED
    yield "tabs", "shots:\n\t- image: a.png\n", REFUSED
    for broken in (
        "[",
        "{",
        "'",
        '"',
        "a: b: c",
        "%",
        "@",
        "`",
        "*",
        "&",
        "!",
        "|",
        "? :",
        '"\\x0"',
    ):
        yield f"broken {broken}", f"{SHOTS}name: {broken}\n", EITHER if broken in "|!" else REFUSED


def _values() -> Iterator[tuple[str, str, Verdict]]:
    for key in PARAM_KEYS:
        for value in (*_NUMBERS, *_NOT_NUMBERS):
            yield f"{key} of {value[:20]}", f"{SHOTS}defaults: {{{key}: {value}}}\n", EITHER
        for value in (".nan", ".inf", "9" * 5000, "[1]", "{a: 1}"):
            yield (
                f"{key} of {value[:9]}, at a shot",
                f"shots: [{{image: a.png, {key}: {value}}}]\n",
                (REFUSED),
            )
    for value in (*_NUMBERS, *_NOT_NUMBERS):
        verdict = EITHER if value in ("1_0", "0x10", "null", "", "0o17", "1e-999") else REFUSED
        yield f"priority of {value[:20]}", f"{SHOTS}priority: {value}\n", verdict
    for value in ("1x1", "0x0", "-8x8", "9999999x8", "8x", "x", "1e3x8", "٨x٨", "8x8x8", "nanxnan"):
        yield f"size of {value}", f"{SHOTS}defaults: {{size: {value}}}\n", REFUSED


def _names() -> Iterator[tuple[str, str, Verdict]]:
    for name in ("../x", "a/b", "/etc/passwd", ".x", "a b", "é", "x" * 129, "a\\b", "a:b", "-rf"):
        verdict = TAKEN if name == "-rf" else REFUSED
        yield f"shot {name!r}", f"shots: [{{image: a.png, name: '{name}'}}]\n", verdict
    for template in (
        "../{shot}.mp4",
        "/tmp/{shot}.mp4",
        "{shot.__class__}.mp4",
        "{shot[0]}.mp4",
        "{0}.mp4",
        "{}.mp4",
        "{shot!r}.mp4",
        "{shot:>999999999}.mp4",
        "{shot:{width}}.mp4",
        "{unknown}.mp4",
        "{shot",
        "}{",
        "{shot}",
        ".{shot}.mp4",
        "{shot}.exe",
        "{shot}/x.mp4",
        "x" * 200 + ".mp4",
        "{shot}.mp4\\0",
        "\u202e{shot}.mp4",
    ):
        yield f"template {template!r}", f'{SHOTS}output: {{name: "{template}"}}\n', REFUSED
    for name in ("\\0", "\\x07", "\\e[2J", "\\u202e", "\\ud800", "x" * 200):
        yield f"name {name!r}", f'{SHOTS}name: "{name}"\n', EITHER
    for url in (
        "file:///etc/passwd",
        "gopher://x",
        "http:///x",
        "javascript:x",
        "http://a@b@c",
        "https://[::",
    ):
        yield f"image {url}", f"shots: [{{image: '{url}'}}]\n", EITHER  # later, when it is fetched
        yield f"webhook {url}", f"{SHOTS}webhook: '{url}'\n", REFUSED
    for path in (
        "/nowhere/x.png",
        "../nowhere.png",
        "*.gif",
        "nowhere/**/*",
        "a.png\\0",
        "~root/x",
        ".",
    ):
        yield (
            f"image {path}",
            f'shots: [{{image: "{path}"}}]\n',
            REFUSED if "*" in path or "0" in path else EITHER,
        )


def _sweeps() -> Iterator[tuple[str, str, Verdict]]:
    for name, sweep, verdict in (
        ("of 10^9", "{seed: '1-1000000000'}", REFUSED),
        ("of 10^999", f"{{seed: '1-{'9' * 999}'}}", REFUSED),
        ("of 10^5000", f"{{seed: '1-{'9' * 5000}'}}", REFUSED),
        ("backwards", "{seed: '5-1'}", REFUSED),
        ("of products", "{seed: '1-9999', fps: [1, 2, 3], steps: [1, 2, 3]}", REFUSED),
        ("of nothing", "{}", EITHER),
        ("of empty", "{seed: []}", REFUSED),
        ("of nan", "{motion_bucket_id: [.nan]}", REFUSED),
        ("of lists", "{seed: [[1], [2]]}", REFUSED),
        ("of itself", "{sweep: [1, 2]}", REFUSED),
        ("of images", "{image: [a.png, b.png]}", REFUSED),
    ):
        yield f"sweep {name}", f"shots: [{{image: a.png, sweep: {sweep}}}]\n", verdict


def _bytes() -> Iterator[FileCase]:
    plain = SHOTS.encode()
    for name, data in {
        "NUL": plain + b"name: a\0b\n",
        "NUL first": b"\0" + plain,
        "bell": plain + b"name: a\x07b\n",
        "latin 1": plain + b"name: caf\xe9\n",
        "utf-16": SHOTS.encode("utf-16"),
        "utf-32": SHOTS.encode("utf-32"),
        "overlong": plain + b"name: \xc0\xaf\n",
        "half a letter": plain + b"name: \xe2\x82",
        "a surrogate": plain + b"name: \xed\xa0\x80\n",
        "noise": bytes(range(256)) * 20,
        "an image": b"\x89PNG\r\n\x1a\n" + bytes(100),
        "zeros": bytes(2**20),
    }.items():
        yield Case(name, data, REFUSED)
    yield Case("byte order mark", b"\xef\xbb\xbf" + plain, TAKEN)
    yield Case("carriage returns", plain.replace(b"\n", b"\r\n"), TAKEN)
