"""Pixels of damaged files: kept only where plain Pillow keeps them, and as it decodes them."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from pipeline import ENGINES, open_dataset
from pipeline.conversion.convert import ConvertOptions, convert
from pipeline.pillow import MOST_PIXELS, pixel_limit
from pipeline.sources import ImageFolder
from pipeline.sources.pixels import decode, is_plain_jpeg

ORIENTATION = 0x0112


def picture(mode: str = "RGB") -> Image.Image:
    y, x = np.mgrid[:32, :48]
    noise = np.random.default_rng(0).integers(0, 30, (32, 48, 3))
    image = Image.fromarray(np.uint8((np.stack([x * 3 + y, y * 4, x + y * 2], 2) + noise) % 256))
    if mode in ("RGBA", "LA"):
        image = image.convert(mode.removesuffix("A") if mode == "LA" else "RGB")
        image.putalpha(Image.fromarray(np.uint8(x * 5)))
        return image
    if mode == "I;16":
        return Image.fromarray(np.asarray(image.convert("L")).astype(np.uint16) * 257)
    return image if mode == "RGB" else image.convert(mode)


def encoded(kind: str, mode: str = "RGB", frames: int = 1, **options: Any) -> bytes:
    file = io.BytesIO()
    if frames > 1:
        options |= {"save_all": True, "append_images": [picture(mode).rotate(90)] * (frames - 1)}
    picture(mode).save(file, kind, **options)
    return file.getvalue()


PNG_MODES = ("RGB", "L", "RGBA", "LA", "P", "I;16")
KINDS: dict[str, Callable[[], bytes]] = {
    **{f"PNG {mode}": lambda mode=mode: encoded("PNG", mode) for mode in PNG_MODES},  # type: ignore[misc]
    "PNG stored": lambda: encoded("PNG", compress_level=0),
    "APNG": lambda: encoded("PNG", frames=2),
    **{f"JPEG {mode}": lambda mode=mode: encoded("JPEG", mode) for mode in ("RGB", "L", "CMYK")},  # type: ignore[misc]
    "JPEG progressive": lambda: encoded("JPEG", progressive=True),
    "MPO": lambda: encoded("MPO", frames=2),
    "GIF": lambda: encoded("GIF", "P"),
    "GIF frames": lambda: encoded("GIF", frames=2),
    "BMP": lambda: encoded("BMP"),
    **{
        f"TIFF {packing}": lambda packing=packing: encoded("TIFF", compression=packing)  # type: ignore[misc]
        for packing in ("raw", "tiff_lzw", "tiff_adobe_deflate", "packbits")
    },
    "TIFF I;16": lambda: encoded("TIFF", "I;16"),
    "WEBP": lambda: encoded("WEBP"),
    "WEBP lossless": lambda: encoded("WEBP", "RGBA", lossless=True),
    "PPM": lambda: encoded("PPM"),
}  # fmt: skip


def damaged(content: bytes, seed: int) -> bytes:
    random = np.random.default_rng(seed)
    place, data = int(random.integers(len(content))), bytearray(content)
    if seed % 4 == 0:
        data[place] ^= 1 << int(random.integers(8))
    elif seed % 4 == 1:
        data[place] = int(random.integers(256))
    elif seed % 4 == 2:
        data[place : place + 16] = random.bytes(len(data[place : place + 16]))
    else:
        del data[place:]
    return bytes(data)


def plain(content: bytes) -> Image.Image | None:
    try:
        with Image.open(io.BytesIO(content)) as image:
            image.load()
            return image
    except Exception:
        return None


def ours(content: bytes) -> NDArray[np.uint8] | None:
    try:
        return decode(io.BytesIO(content))
    except Exception:
        return None


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("kind", KINDS)
def test_what_pillow_refuses_is_refused_and_what_it_keeps_has_its_pixels(kind: str) -> None:
    sound = KINDS[kind]()
    right = decode(io.BytesIO(sound))
    refused = 0
    for seed in range(60):
        content = damaged(sound, seed)
        theirs, mine = plain(content), ours(content)
        if theirs is None:
            refused += 1
            assert mine is None, f"seed {seed} is kept, and Pillow refuses it"
        elif mine is not None and "PNG" in kind and content != sound:
            # A PNG has checksums: what is kept is what was written.
            np.testing.assert_array_equal(mine, right)
        elif mine is not None and theirs.mode in ("RGB", "L", "CMYK"):
            np.testing.assert_array_equal(mine, np.asarray(theirs.convert("RGB")))
    assert refused > 5


def test_a_png_that_pillow_reads_no_checksum_of_is_refused() -> None:
    sound = encoded("PNG", compress_level=0)
    (length,) = struct.unpack_from(">I", sound, sound.index(b"IDAT") - 4)
    start = sound.index(b"IDAT") + 4
    stream = sound[start : start + length]

    def png(stream: bytes) -> bytes:
        # Pillow is done before it comes to the second chunk.
        parts = (stream[:-4], stream[-4:])
        chunks = [struct.pack(">I", len(part)) + b"IDAT" + part + b"\0CRC" for part in parts]
        return sound[: start - 8] + b"".join(chunks) + sound[-12:]

    content = png(stream[:-9] + bytes([stream[-9] ^ 255]) + stream[-8:])
    assert plain(content) is not None
    with pytest.raises(ValueError, match="its pixel data are damaged: their checksum differs"):
        decode(io.BytesIO(content))
    # A wrong checksum around data that are whole by their own says nothing of the pixels.
    np.testing.assert_array_equal(decode(io.BytesIO(png(stream))), decode(io.BytesIO(sound)))
    with pytest.raises(ValueError, match="they are cut off"):
        decode(io.BytesIO(png(stream)[:-30]))


@pytest.mark.parametrize("engine", ["resident", "ffcv"])
def test_damaged_jpegs_that_are_kept_are_the_same_for_every_engine(tmp_path: Path, engine: str) -> None:
    if engine == "ffcv":
        pytest.importorskip("ffcv")
    (tmp_path / "a").mkdir()
    for seed in range(60):
        for kind in ("JPEG RGB", "JPEG progressive"):
            content = damaged(KINDS[kind](), seed)
            image = plain(content)
            if image is not None and image.size == (48, 32) and image.mode == "RGB":
                (tmp_path / "a" / f"{kind}{seed}.jpg").write_bytes(content)
    source = ImageFolder(tmp_path)
    assert len(source) > 40
    convert(source, tmp_path / "x.beton", ConvertOptions(encoding="jpeg"))
    reader = ENGINES[engine](threads=1).open(open_dataset(tmp_path / "x.beton"), torch.device("cpu"))  # type: ignore[call-arg]
    read = reader.read(np.arange(len(source))).permute(0, 2, 3, 1).numpy()
    reader.close()
    for index, image in enumerate(read):
        np.testing.assert_array_equal(image, source.read(index))


def exif(entries: list[tuple[int, int, int, bytes]], tail: bytes = b"") -> bytes:
    rows = b"".join(struct.pack("<HHI", *entry[:3]) + entry[3].ljust(4, b"\0") for entry in entries)
    return b"Exif\0\0II*\0" + struct.pack("<IH", 8, len(entries)) + rows + bytes(4) + tail


ODD = [
    (0x011A, 1, 1, b"\1"),  # a resolution that is a byte
    (0x011A, 5, 1, struct.pack("<I", 1 << 30)),  # a value beyond the end
    (0x0132, 2, 1 << 30, bytes(4)),  # a text that is longer than the file
    (0x8769, 4, 1, struct.pack("<I", 8)),  # a directory that is its own parent
    (0x8825, 4, 1, b"\xff\xff\xff\xff"),
    (0x927C, 7, 4, b"\0\1\2\3"),
    (0xFFFF, 99, 1, bytes(4)),
]


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("odd", ODD, ids=lambda entry: f"{entry[0]:x}-{entry[1]}-{entry[2]}")
def test_of_exif_only_the_orientation_matters(kind: str, odd: tuple[int, int, int, bytes]) -> None:
    turned = exif(sorted([(ORIENTATION, 3, 1, struct.pack("<H", 6)), odd]))
    options = {"lossless": True} if kind == "WEBP" else {}
    stored = encoded(kind, exif=turned, **options)  # type: ignore[arg-type]
    expected = np.rot90(np.asarray(Image.open(io.BytesIO(stored)).convert("RGB")), -1)
    np.testing.assert_array_equal(decode(io.BytesIO(stored)), expected)
    if kind == "JPEG":
        assert not is_plain_jpeg(io.BytesIO(stored))


@pytest.mark.parametrize("value", [0, 1, 9, 255, 65_535])
def test_an_orientation_that_means_nothing_leaves_an_image_as_it_is(value: int) -> None:
    content = encoded("JPEG", exif=exif([(ORIENTATION, 3, 1, struct.pack("<H", value))]))
    np.testing.assert_array_equal(decode(io.BytesIO(content)), decode(io.BytesIO(encoded("JPEG"))))
    assert is_plain_jpeg(io.BytesIO(content))


@pytest.mark.parametrize("entry", [(2, 2, b"6"), (7, 1, b"\6"), (1, 1, b"\6")])
def test_an_orientation_of_another_type_is_what_pillow_takes_it_for(entry: tuple[int, int, bytes]) -> None:
    from PIL import ImageOps

    content = encoded("JPEG", exif=exif([(ORIENTATION, *entry)]))
    theirs = ImageOps.exif_transpose(Image.open(io.BytesIO(content)))
    np.testing.assert_array_equal(decode(io.BytesIO(content)), np.asarray(theirs))


@pytest.mark.parametrize("packing", ["raw", "tiff_lzw"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_tiff_is_turned_once(packing: str, orientation: int) -> None:
    content = encoded("TIFF", compression=packing, tiffinfo={ORIENTATION: orientation})
    theirs = Image.open(io.BytesIO(content))
    theirs.load()
    np.testing.assert_array_equal(decode(io.BytesIO(content)), np.asarray(theirs))
    if orientation == 6:
        np.testing.assert_array_equal(decode(io.BytesIO(content)), np.rot90(np.asarray(picture()), -1))


def bmp(width: int, height: int) -> bytes:
    head = struct.pack("<IiiHHIIiiII", 40, width, height, 1, 24, 0, 0, 0, 0, 0, 0)
    return b"BM" + struct.pack("<IHHI", 24_000, 0, 0, 54) + head + bytes(24_000)


def gif(width: int, height: int) -> bytes:
    frame = b"," + struct.pack("<HHHHB", 0, 0, width, height, 0) + b"\2\2\x44\1\0;"
    return b"GIF89a" + struct.pack("<HHBBB", 10, 10, 128, 0, 0) + bytes(6) + frame


def tiff(width: int, height: int) -> bytes:
    entries = [
        (256, width),
        (257, height),
        (258, 8),
        (259, 1),
        (262, 1),
        (273, 8),
        (277, 1),
        (278, height),
        (279, 9),
    ]
    rows = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in entries)
    return b"II*\0" + struct.pack("<IH", 8, len(entries)) + rows + bytes(1_000)


def jpeg(width: int, height: int) -> bytes:
    content = bytearray(encoded("JPEG"))
    at = content.index(b"\xff\xc0") + 5
    content[at : at + 4] = struct.pack(">HH", height, width)
    return bytes(content)


def png(width: int, height: int) -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", head)
        + chunk(b"IDAT", zlib.compress(bytes(99)))
        + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize(
    "content",
    [
        *(kind(50_000, 50_000) for kind in (bmp, gif, tiff, jpeg, png)),
        bmp(50_000, -50_000),
        b"P6\n50000 50000\n255\n" + bytes(99),
    ],
    ids=["bmp", "gif frame", "tiff", "jpeg", "png", "bmp upside down", "ppm"],
)
def test_a_header_that_claims_gigabytes_is_refused_before_memory_is_taken(content: bytes) -> None:
    message = (
        f"states 2,500,000,000 pixels, and at most {MOST_PIXELS:,} are decoded: allow more by --max-pixels"
    )
    with pixel_limit(MOST_PIXELS), pytest.raises(ValueError, match=message):
        decode(io.BytesIO(content))


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_the_bound_on_pixels_is_an_option(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    content = encoded("PNG")
    with pixel_limit(32 * 48):
        decode(io.BytesIO(content))
        with pixel_limit(1):
            decode(io.BytesIO(content))
    assert Image.MAX_IMAGE_PIXELS == 10
    with pixel_limit(32 * 48 - 2), pytest.raises(ValueError, match="states 1,536 pixels"):
        decode(io.BytesIO(content))
