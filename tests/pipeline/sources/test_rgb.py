"""Image files of every kind become RGB."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
from image_files import noise
from PIL import Image

from pipeline.sources.pixels import decode, is_plain_jpeg


def file_of(image: Image.Image, kind: str = "PNG", **options: Any) -> io.BytesIO:
    file = io.BytesIO()
    image.save(file, kind, **options)
    file.seek(0)
    return file


def test_gray_becomes_three_equal_channels() -> None:
    gray = noise(0, 5, 7)
    np.testing.assert_array_equal(decode(file_of(Image.fromarray(gray))), np.stack([gray] * 3, 2))


def test_black_and_white_become_0_and_255() -> None:
    bits = noise(0, 5, 9) > 127
    image = decode(file_of(Image.fromarray(bits)))
    np.testing.assert_array_equal(image, np.stack([bits * 255] * 3, 2))


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "PGM"])
def test_16_bits_are_scaled_to_8(kind: str) -> None:
    gray = np.array([[0, 128, 257, 32_896, 65_535]], np.uint16)
    # Older versions of Pillow read PGM files of 16 bits and don't write them.
    written = io.BytesIO(b"P5\n5 1\n65535\n" + gray.astype(">u2").tobytes())
    image = decode(written if kind == "PGM" else file_of(Image.fromarray(gray), kind))
    assert image[0, :, 0].tolist() == [0, 0, 1, 128, 255]
    assert image.shape == (1, 5, 3)


def test_a_pgm_is_scaled_by_the_white_that_it_names() -> None:
    image = decode(io.BytesIO(b"P5\n3 1\n1023\n" + np.array([0, 512, 1023], ">u2").tobytes()))
    assert image[0].tolist() == [[0] * 3, [128] * 3, [255] * 3]


def test_transparent_pixels_are_laid_over_white() -> None:
    pixels = noise(0, 4, 4, 4)
    pixels[:2, :, 3] = [[0], [255]]
    image = decode(file_of(Image.fromarray(pixels)))
    np.testing.assert_array_equal(image[0], 255)
    np.testing.assert_array_equal(image[1], pixels[1, :, :3])
    alpha = pixels[2:, :, 3:] / 255
    np.testing.assert_allclose(image[2:], pixels[2:, :, :3] * alpha + 255 * (1 - alpha), atol=1)


def test_gray_with_transparency_is_laid_over_white() -> None:
    image = decode(file_of(Image.fromarray(np.array([[[10, 0], [10, 255]]], np.uint8), "LA")))
    assert image.tolist() == [[[255] * 3, [10] * 3]]


def test_palettes_become_their_colors_and_a_transparent_entry_white() -> None:
    palette = Image.new("P", (3, 1))
    palette.putpalette([10, 20, 30, 200, 100, 0, 7, 7, 7])
    palette.putdata([1, 0, 2])
    assert decode(file_of(palette)).tolist() == [[[200, 100, 0], [10, 20, 30], [7, 7, 7]]]
    assert decode(file_of(palette, transparency=0)).tolist() == [[[200, 100, 0], [255, 255, 255], [7, 7, 7]]]


def test_cmyk_becomes_rgb() -> None:
    inks = np.zeros((16, 16, 4), np.uint8)
    inks[..., 0] = 255
    image = decode(file_of(Image.fromarray(inks, "CMYK"), "JPEG", quality=100))
    np.testing.assert_allclose(image, np.broadcast_to([0, 255, 255], (16, 16, 3)), atol=3)
    assert not is_plain_jpeg(file_of(Image.fromarray(inks, "CMYK"), "JPEG"))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(orientation: int) -> None:
    upright = np.zeros((32, 48, 3), np.uint8)
    upright[:16, :24] = [255, 0, 0]
    upright[:16, 24:] = [0, 255, 0]
    upright[16:, :24] = [0, 0, 255]
    stored = {
        1: upright,
        2: np.fliplr(upright),
        3: np.rot90(upright, 2),
        4: np.flipud(upright),
        5: upright.transpose(1, 0, 2),
        6: np.rot90(upright, 1),
        7: np.rot90(upright, 2).transpose(1, 0, 2),
        8: np.rot90(upright, -1),
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    file = file_of(Image.fromarray(np.ascontiguousarray(stored)), "PNG", exif=exif)
    np.testing.assert_array_equal(decode(file), upright)
    jpeg = file_of(Image.fromarray(np.ascontiguousarray(stored)), "JPEG", exif=exif)
    assert is_plain_jpeg(jpeg) == (orientation == 1)


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")
@pytest.mark.parametrize("exif", [b"Exif\0\0nothing of the kind", b"Exif\0\0II*\0\x08\0\0\0\xff\xff"])
def test_damaged_exif_data_do_not_stop_an_image(exif: bytes) -> None:
    image = Image.fromarray(noise(0, 16, 16, 3))
    file = file_of(image, "JPEG", exif=exif)
    assert is_plain_jpeg(file)
    assert decode(file).shape == (16, 16, 3)


def test_the_first_of_several_frames_is_taken() -> None:
    frames = [Image.fromarray(np.full((4, 4), value, np.uint8)) for value in (0, 255)]
    np.testing.assert_array_equal(
        decode(file_of(frames[0], "GIF", save_all=True, append_images=frames[1:])), 0
    )


def test_a_phones_double_jpeg_is_read_and_encoded_anew() -> None:
    frames = [Image.fromarray(np.full((16, 16, 3), value, np.uint8)) for value in (10, 200)]
    file = file_of(frames[0], "MPO", save_all=True, append_images=frames[1:])
    np.testing.assert_allclose(decode(file), 10, atol=2)
    assert not is_plain_jpeg(file)


def test_only_image_files_are_opened_whatever_their_ending() -> None:
    with pytest.raises(ValueError, match="it is none of BMP, GIF, JPEG"):
        decode(file_of(Image.fromarray(noise(0, 4, 4, 3)), "EPS"))


def test_pixels_without_an_agreed_range_are_refused() -> None:
    with pytest.raises(ValueError, match="8 or 16 bits; these have mode F"):
        decode(file_of(Image.fromarray(np.zeros((2, 2), np.float32)), "TIFF"))
