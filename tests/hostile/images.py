"""Images that mean harm, and odd ones that do not."""

from __future__ import annotations

import io
import random
import struct
import zipfile
import zlib
from collections.abc import Iterator

from PIL import Image, ImageCms

from tests.hostile.case import Case, Verdict

TAKEN, REFUSED, EITHER = Verdict.TAKEN, Verdict.REFUSED, Verdict.EITHER
KINDS = ("JPEG", "PNG", "WEBP")
PNG_SIGN = b"\x89PNG\r\n\x1a\n"

_chance = random.Random(20_26)
PICTURE = Image.frombytes("RGB", (60, 40), _chance.randbytes(60 * 40 * 3)).resize((90, 64))
PROFILE = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()

ImageCase = Case[bytes]


def saved(kind: str, mode: str = "RGB", **options: object) -> bytes:
    image = PICTURE.convert("L").convert("I") if mode == "I;16" else PICTURE
    image = image.convert(mode)
    if mode in ("RGBA", "LA"):
        image.putalpha(Image.linear_gradient("L").resize(image.size))
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def exif(orientation: int) -> bytes:
    made = Image.Exif()
    made[0x0112] = orientation
    return made.tobytes()


def chunk(kind: bytes, content: bytes = b"") -> bytes:
    head = struct.pack(">I4s", len(content), kind)
    return head + content + struct.pack(">I", zlib.crc32(kind + content))


def png(width: int, height: int, *chunks: bytes, depth: int = 8, colour: int = 2) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    return PNG_SIGN + chunk(b"IHDR", header) + b"".join(chunks) + chunk(b"IEND")


def rows(width: int, height: int, pixel_bytes: int = 3) -> bytes:
    return chunk(b"IDAT", zlib.compress(bytes((width * pixel_bytes + 1) * height)))


def insert(data: bytes, *chunks: bytes) -> bytes:
    """A PNG with more chunks behind its header."""
    return data[:33] + b"".join(chunks) + data[33:]


BASES = {
    "jpeg": saved("JPEG", exif=exif(6), icc_profile=PROFILE, comment=b"a comment"),
    "progressive jpeg": saved("JPEG", progressive=True, quality=95),
    "grey jpeg": saved("JPEG", "L", restart_marker_blocks=2),
    "png": saved("PNG", exif=exif(6), icc_profile=PROFILE),
    "palette png": saved("PNG", "P"),
    "16-bit png": saved("PNG", "I;16"),
    "webp": saved("WEBP", exif=exif(6), icc_profile=PROFILE),
    "lossless webp": saved("WEBP", lossless=True),
    "clear webp": saved("WEBP", "RGBA"),
}


def all_cases() -> Iterator[ImageCase]:
    """Every one, in an order that never changes."""
    yield from _odd()
    yield from _orientations()
    yield from _metadata()
    yield from _phones()
    yield from _cut()
    yield from _damaged()
    yield from _sizes()
    yield from _followed()
    yield from _animated()
    yield from _other_formats()
    yield from _bombs()
    yield from _flipped()


def _odd() -> Iterator[ImageCase]:
    for mode in ("1", "L", "LA", "P", "RGB", "RGBA", "I;16"):
        yield Case(f"png {mode}", saved("PNG", mode), TAKEN)
    for mode in ("L", "RGB", "CMYK"):
        for options in ({}, {"progressive": True}, {"restart_marker_blocks": 1}, {"quality": 1}):
            yield Case(f"jpeg {mode} {options}", saved("JPEG", mode, **options), TAKEN)
    for mode in ("RGB", "RGBA"):
        for options in ({}, {"lossless": True}, {"quality": 1}, {"exif": exif(1)}):
            yield Case(f"webp {mode} {options}", saved("WEBP", mode, **options), TAKEN)
    for subsampling in range(3):
        yield Case(f"jpeg {subsampling}", saved("JPEG", subsampling=subsampling), TAKEN)
    yield Case("png of 16 bits and 3 channels", png(9, 9, rows(9, 9, 6), depth=16), TAKEN)
    yield Case("png of 16 bits, clear", png(9, 9, rows(9, 9, 8), depth=16, colour=6), TAKEN)
    yield Case("png with a clear colour", insert(BASES["png"], chunk(b"tRNS", bytes(6))), TAKEN)
    yield Case("png of 1x1", png(1, 1, rows(1, 1)), TAKEN)
    yield Case("png of 8192x1", png(8192, 1, rows(8192, 1)), TAKEN)
    yield Case("png of 1x8192", png(1, 8192, rows(1, 8192)), TAKEN)


def _orientations() -> Iterator[ImageCase]:
    for kind in KINDS:
        for orientation in (*range(10), 255, 65535):
            yield Case(f"{kind} turned {orientation}", saved(kind, exif=exif(orientation)), TAKEN)


def _metadata() -> Iterator[ImageCase]:
    broken = {
        "empty": b"",
        "zeros": bytes(64),
        "noise": _chance.randbytes(500),
        "far": b"Exif\0\0MM\0*\xff\xff\xff\xff",
        "endless": b"Exif\0\0II*\0\x08\0\0\0\xff\xff" + b"\x12\1\3\0\1\0\0\0\6\0\0\0" * 20,
        "itself": b"Exif\0\0II*\0\x08\0\0\0\1\0\x69\x87\4\0\1\0\0\0\x08\0\0\0\x08\0\0\0",
        "huge": b"Exif\0\0II*\0\x08\0\0\0\1\0\x0e\1\2\0\xff\xff\xff\x7f\x08\0\0\0\0\0\0\0",
    }
    for kind in KINDS:
        for name, data in broken.items():
            yield Case(f"{kind} with exif of {name}", saved(kind, exif=data), TAKEN)
            yield Case(f"{kind} with a profile of {name}", saved(kind, icc_profile=data), TAKEN)
        for cut in (1, 60, 128, 200, len(PROFILE) - 9):
            data = saved(kind, icc_profile=PROFILE[:cut])
            yield Case(f"{kind} with {cut} bytes of a profile", data, TAKEN)
        yield Case(f"{kind} with a profile of grey", saved(kind, icc_profile=_grey()), TAKEN)
    yield Case("cmyk with a profile of rgb", saved("JPEG", "CMYK", icc_profile=PROFILE), TAKEN)


def _grey() -> bytes:
    lab = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
    return lab[:16] + b"GRAY" + lab[20:]


def _phones() -> Iterator[ImageCase]:
    jpeg = BASES["jpeg"]
    block = b"\0\0\1\x0a\x0e\0\0\0Image_UTC_Data1700000000000"
    directory = b"SEFH" + struct.pack("<IIHHII", 107, 1, 0, 0x0A01, len(block), len(block))
    samsung = block + directory + struct.pack("<I", len(directory)) + b"SEFT"
    video = struct.pack(">I4s8x", 16, b"ftyp") + struct.pack(">I4s100x", 108, b"mdat")
    several = saved("MPO", save_all=True, append_images=[PICTURE])
    for name, data in {
        "samsung's": jpeg + samsung,
        "motion": jpeg + video,
        "padded": jpeg + bytes(4096),
        "hdr": several,
        "hdr, samsung's": several + samsung,
        "hdr, in motion": several + video,
        "hdr with offsets that are wrong": several[:2] + b"\xff\xfe\0\x0amoved it" + several[2:],
    }.items():
        yield Case(f"photograph {name}", data, TAKEN)
    yield Case("hdr with one more", several + jpeg, REFUSED)
    yield Case("samsung's with an archive", jpeg + _zip() + samsung, REFUSED)
    yield Case("motion with an archive", jpeg + video + _zip(), REFUSED)
    yield Case("samsung's, lying", jpeg + samsung.replace(b"SEFH", b"SEFX"), REFUSED)


def _boundaries(data: bytes) -> Iterator[int]:
    """Where the parts of a file begin, by their own lengths."""
    if data.startswith(PNG_SIGN):
        place, head = 8, 12
        while place < len(data):
            yield place
            place += head + int.from_bytes(data[place : place + 4])
    elif data.startswith(b"RIFF"):
        place = 12
        while place < len(data):
            yield place
            length = int.from_bytes(data[place + 4 : place + 8], "little")
            place += 8 + length + length % 2
    else:
        place = 2
        while place < len(data) - 2:
            yield place
            place += 2 + int.from_bytes(data[place + 2 : place + 4])
            while data[place] != 0xFF or data[place + 1] in (0, *range(0xD0, 0xD8)):
                place += 1
        yield place


def _cut() -> Iterator[ImageCase]:
    for name, data in BASES.items():
        ends = set[int]()
        for place in _boundaries(data):
            for end in sorted({place, place + 3, place + 9} - ends):
                ends.add(end)
                if end >= len(data):
                    continue
                yield Case(f"{name} cut at {end}", data[:end], REFUSED)
        yield Case(f"{name} without its last byte", data[:-1], REFUSED)


def _damaged() -> Iterator[ImageCase]:
    for name in ("png", "palette png", "16-bit png"):
        data = BASES[name]
        for place in _boundaries(data):
            end = place + 12 + int.from_bytes(data[place : place + 4])
            wrong = data[: end - 1] + bytes([data[end - 1] ^ 1]) + data[end:]
            yield Case(f"{name}, checksum at {place}", wrong, REFUSED)
    good = rows(9, 9)
    for name, data in {
        "no header": PNG_SIGN + good + chunk(b"IEND"),
        "two headers": insert(png(9, 9, good), BASES["png"][8:33]),
        "header later": PNG_SIGN + good + BASES["png"][8:],
        "no picture": png(9, 9),
        "empty picture": png(9, 9, chunk(b"IDAT")),
        "picture of noise": png(9, 9, chunk(b"IDAT", _chance.randbytes(300))),
        "half a picture": png(9, 9, rows(9, 4)),
        "depth of 3": png(9, 9, good, depth=3),
        "colour of 5": png(9, 9, good, colour=5),
        "no end": png(9, 9, good)[:-12],
        "lengths of 4 GiB": PNG_SIGN + b"\xff\xff\xff\xffIHDR" + bytes(20),
        "palette missing": png(9, 9, rows(9, 9, 1), colour=3),
    }.items():
        yield Case(f"png, {name}", data, REFUSED)
    jpeg = BASES["jpeg"]
    frame, scan = jpeg.index(b"\xff\xc0"), jpeg.index(b"\xff\xda")
    length = 2 + int.from_bytes(jpeg[frame + 2 : frame + 4])
    header = jpeg[frame : frame + length]
    for name, data in {
        "no header": jpeg[:frame] + jpeg[frame + length :],
        "two headers": jpeg[:frame] + header + jpeg[frame:],
        "no scan": jpeg[:scan] + b"\xff\xd9",
        "another inside": jpeg[:2] + jpeg,
        "junk between parts": jpeg[:frame] + b"junk" + jpeg[frame:],
        "a part of length 0": jpeg[:2] + b"\xff\xfe\0\0" + jpeg[2:],
        "arithmetic coding": jpeg.replace(b"\xff\xc0", b"\xff\xc9"),
        "lossless": jpeg.replace(b"\xff\xc0", b"\xff\xc3"),
        "hierarchic": jpeg.replace(b"\xff\xc0", b"\xff\xc5"),
        "12 bits": jpeg[: frame + 4] + b"\x0c" + jpeg[frame + 5 :],
        "no components": jpeg[: frame + 9] + b"\0" + jpeg[frame + 10 :],
    }.items():
        yield Case(f"jpeg, {name}", data, EITHER if name == "arithmetic coding" else REFUSED)
    webp = BASES["lossless webp"]
    for name, data in {
        "two pictures": _riff(webp[12:] + webp[12:]),
        "no picture": _riff(b"ODD \2\0\0\0ab"),
        "nothing": _riff(b""),
        "a picture of nothing": _riff(b"VP8L\0\0\0\0"),
        "a picture of noise": _riff(struct.pack("<4sI", b"VP8 ", 300) + _chance.randbytes(300)),
        "longer than it is": webp[:4] + b"\xff\xff\xff\x7f" + webp[8:],
        "shorter than it is": webp[:4] + b"\x10\0\0\0" + webp[8:],
    }.items():
        yield Case(f"webp, {name}", data, REFUSED)


def _riff(chunks: bytes) -> bytes:
    return b"RIFF" + struct.pack("<I", 4 + len(chunks)) + b"WEBP" + chunks


def _sizes() -> Iterator[ImageCase]:
    sides = [(8193, 1), (1, 8193), (8000, 8000), (60_000, 60_000), (65_535, 1), (0, 9), (9, 0)]
    jpeg, lossless, clear = BASES["jpeg"], BASES["lossless webp"], BASES["clear webp"]
    frame = jpeg.index(b"\xff\xc0")
    for width, height in [*sides, (2**31 - 1, 2**31 - 1), (2**32 - 1, 1)]:
        yield Case(f"png of {width}x{height}", png(width, height, rows(1, 1)), REFUSED)
    for width, height in sides:
        lying = jpeg[: frame + 5] + struct.pack(">HH", height, width) + jpeg[frame + 9 :]
        yield Case(f"jpeg of {width}x{height}", lying, REFUSED)
        bits = (max(0, width - 1) & 0x3FFF) | (max(0, height - 1) & 0x3FFF) << 14
        data = lossless[:21] + struct.pack("<I", bits) + lossless[25:]
        yield Case(f"webp that says {width}x{height}", data, EITHER)
        canvas = b"".join(
            (max(0, side - 1) & 0xFFFFFF).to_bytes(3, "little") for side in (width, height)
        )
        yield Case(f"webp on {width}x{height}", clear[:24] + canvas + clear[30:], REFUSED)
    yield Case("png that says more than it has", png(600, 400, rows(60, 40)), REFUSED)
    yield Case("png that says less than it has", png(6, 4, rows(60, 40)), EITHER)
    for height in (1, 63, 65, 640):
        lying = jpeg[: frame + 5] + struct.pack(">H", height) + jpeg[frame + 7 :]
        yield Case(f"jpeg that says {height} rows", lying, EITHER)


def _zip() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr(zipfile.ZipInfo("Main.class"), b"\xca\xfe\xba\xbe")
    return file.getvalue()


def _strangers() -> dict[str, bytes]:
    return {
        "zip": _zip(),
        "html": b"<html><script>alert(1)</script></html>",
        "pdf": b"%PDF-1.7\n1 0 obj<</Type/Catalog>>endobj\ntrailer<</Root 1 0 R>>\n%%EOF",
        "gif": saved("GIF"),
        "script": b"\n#!/bin/sh\nid\n",
        "php": b"<?php system($_GET[0]); ?>",
        "program": b"\x7fELF" + bytes(60),
        "archive": b"7z\xbc\xaf\x27\x1c" + bytes(40),
        "one byte": b"!",
        "svg": b"<svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)'/>",
        **{kind: saved(kind) for kind in KINDS},
    }


def _followed() -> Iterator[ImageCase]:
    for name in ("jpeg", "png", "webp"):
        for other, behind in _strangers().items():
            yield Case(f"{name} and {other}", BASES[name] + behind, REFUSED)
            yield Case(f"{name} and zeros and {other}", BASES[name] + bytes(99) + behind, REFUSED)
            if other not in KINDS:
                yield Case(f"{other} and {name}", behind + BASES[name], REFUSED)


def _animated() -> Iterator[ImageCase]:
    several = {"save_all": True, "append_images": [PICTURE.rotate(90), PICTURE]}
    control = chunk(b"fcTL", struct.pack(">IIIIIHHBB", 0, 90, 64, 0, 0, 1, 1, 0, 0))
    for name, data in {
        "png": saved("PNG", **several),
        "webp": saved("WEBP", **several),
        "lossless webp": saved("WEBP", lossless=True, **several),
        "gif": saved("GIF", **several),
        "png of one frame": insert(BASES["png"], chunk(b"acTL", struct.pack(">II", 1, 0))),
        "png of 4 thousand million": insert(BASES["png"], chunk(b"acTL", b"\xff" * 8)),
        "png with a control": insert(BASES["png"], control),
        "png with a frame": insert(BASES["png"], chunk(b"fdAT", bytes(8))),
        "webp by its flag": BASES["clear webp"][:20] + b"\x12" + BASES["clear webp"][21:],
    }.items():
        yield Case(f"animated {name}", data, REFUSED)


def _other_formats() -> Iterator[ImageCase]:
    for kind in ("GIF", "BMP", "TIFF", "PPM", "ICO", "PCX", "TGA", "SGI", "DDS", "JPEG2000", "EPS"):
        yield Case(kind, saved(kind), REFUSED)
    for name, data in {
        "nothing": b"",
        "a byte": b"\xff",
        "zeros": bytes(1000),
        "svg": _strangers()["svg"],
        "svg with a file": b'<!DOCTYPE x [<!ENTITY e SYSTEM "file:///etc/passwd">]><svg>&e;</svg>',
        "heic": struct.pack(">I4s4s8x", 20, b"ftyp", b"heic"),
        "avif": struct.pack(">I4s4s8x", 20, b"ftyp", b"avif"),
        "postscript": b"%!PS-Adobe-3.0 EPSF-3.0\n(/etc/passwd) (r) file",
        "imagemagick": b"push graphic-context\nfill 'url(https://127.0.0.1/|id)'\n",
        "text": b"an image, surely",
        "jpeg's first bytes": b"\xff\xd8\xff",
        "png's first bytes": PNG_SIGN,
        "webp's first bytes": b"RIFF\4\0\0\0WEBP",
        "wave": b"RIFF" + struct.pack("<I", 36) + b"WAVEfmt " + bytes(28),
    }.items():
        yield Case(name, data, REFUSED)


def _bombs() -> Iterator[ImageCase]:
    zeros = zlib.compress(bytes(64 << 20), 9)
    yield Case("png of 33 megapixels", png(8192, 4028, rows(8192, 4028)), TAKEN)
    yield Case("png of 33 clear megapixels", png(8192, 4028, rows(8192, 4028, 4), colour=6), TAKEN)
    for name, content in {
        "iCCP": b"a\0\0" + zeros,
        "zTXt": b"a\0\0" + zeros,
        "iTXt": b"a\0\1\0\0\0" + zeros,
    }.items():
        yield Case(
            f"png, {name} of 64 MiB", insert(BASES["png"], chunk(name.encode(), content)), EITHER
        )
        many = insert(BASES["png"], *[chunk(name.encode(), content[:60_000])] * 100)
        yield Case(f"png, {name} a hundred times", many, EITHER)
    yield Case("png of 64 MiB that says 9x9", png(9, 9, chunk(b"IDAT", zeros)), EITHER)
    yield Case(
        "png of 20,000 texts", insert(BASES["png"], *[chunk(b"tEXt", b"a\0b")] * 20_000), REFUSED
    )
    yield Case("png of 20,000 pieces", png(9, 9, *[chunk(b"IDAT")] * 20_000, rows(9, 9)), REFUSED)
    yield Case("png of 9,000 pieces", png(9, 9, *[chunk(b"IDAT")] * 9_000, rows(9, 9)), EITHER)
    jpeg = BASES["jpeg"]
    yield Case("jpeg of 20,000 comments", jpeg[:2] + b"\xff\xfe\0\3x" * 20_000 + jpeg[2:], REFUSED)
    yield Case("jpeg of fill bytes", jpeg[:2] + b"\xff" * (15 << 20) + jpeg[2:], REFUSED)
    slow = BASES["progressive jpeg"]
    last = slow.rindex(b"\xff\xda")
    yield Case("jpeg of 200 scans", slow[:-2] + slow[last:-2] * 200 + b"\xff\xd9", REFUSED)
    big = io.BytesIO()
    PICTURE.resize((8000, 4000)).save(big, "JPEG", progressive=True, quality=30)
    data = big.getvalue()
    scan = data[data.rindex(b"\xff\xda") : -2]
    yield Case("jpeg of 32 megapixels, 60 scans", data[:-2] + scan[:64] * 50 + b"\xff\xd9", EITHER)
    yield Case("16 MiB and a byte", bytes(2**24 + 1), REFUSED)
    yield Case("16 MiB of noise", b"\xff\xd8\xff" + _chance.randbytes(2**24 - 3), REFUSED)


def _flipped() -> Iterator[ImageCase]:
    chance = random.Random(7)
    for name, data in BASES.items():
        for _ in range(12):
            place, bit = chance.randrange(len(data)), chance.randrange(8)
            flipped = data[:place] + bytes([data[place] ^ 1 << bit]) + data[place + 1 :]
            yield Case(f"{name}, bit {bit} of byte {place}", flipped, EITHER)
