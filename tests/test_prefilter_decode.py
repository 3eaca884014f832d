"""From files of every kind to RGB pixels."""

import io
import os
import struct
import zlib

import numpy as np
import PIL.Image
import pytest

from data.prefilter.decode import Unusable, decode, read_file

GREY = np.arange(0, 256, 4, np.uint8).reshape(8, 8)
COLOUR = np.random.RandomState(0).randint(0, 256, [8, 6, 3]).astype(np.uint8)


def encoded(image, format='PNG', **options):
    file = io.BytesIO()
    image.save(file, format, **options)
    return file.getvalue()


def pixels(content, **options):
    return decode(content, options.pop('max_pixels', 10 ** 6), **options).pixels


def refusal(content, **options):
    with pytest.raises(Unusable) as caught:
        pixels(content, **options)
    return caught.value.reason


def test_colour_is_kept_to_the_bit():
    photo = decode(encoded(PIL.Image.fromarray(COLOUR)), 10 ** 6)
    np.testing.assert_array_equal(photo.pixels, COLOUR)
    assert (photo.mode, photo.format, photo.orientation) == ('RGB', 'PNG', 1)


def test_grey_becomes_three_equal_channels():
    expected = np.repeat(GREY[:, :, np.newaxis], 3, axis=2)
    np.testing.assert_array_equal(pixels(encoded(PIL.Image.fromarray(GREY))), expected)
    transparent = PIL.Image.merge('LA', [PIL.Image.fromarray(GREY), PIL.Image.new('L', (8, 8), 0)])
    np.testing.assert_array_equal(pixels(encoded(transparent)), expected)


def test_sixteen_bits_keep_their_high_byte():
    wide = GREY.astype(np.uint16) * 256 + 77
    for format in ('PNG', 'TIFF'):
        found = pixels(encoded(PIL.Image.fromarray(wide), format))
        np.testing.assert_array_equal(found, np.repeat(GREY[:, :, np.newaxis], 3, axis=2))
    dark = pixels(encoded(PIL.Image.fromarray(np.full([4, 4], 200, np.uint16)), 'PNG'))
    assert not dark.any()


def test_floating_point_is_scaled_from_unit_range_or_clipped():
    unit = np.linspace(0, 1, 16, dtype=np.float32).reshape(4, 4)
    np.testing.assert_array_equal(pixels(encoded(PIL.Image.fromarray(unit), 'TIFF'))[:, :, 0], np.rint(unit * 255))
    wide = np.array([[-5, 0, 100], [255, 300, np.nan]], np.float32)
    found = pixels(encoded(PIL.Image.fromarray(wide), 'TIFF'))[:, :, 2]
    assert found.tolist() == [[0, 0, 100], [255, 255, 0]]


def test_transparency_is_dropped_and_the_colours_beneath_count():
    alpha = PIL.Image.fromarray(np.dstack([COLOUR, np.zeros([8, 6], np.uint8)]))
    np.testing.assert_array_equal(pixels(encoded(alpha)), COLOUR)


def test_palette_bits_and_cmyk_become_rgb():
    palette = PIL.Image.fromarray(GREY % 4, 'P')
    palette.putpalette([10, 20, 30, 40, 50, 60, 70, 80, 90, 100, 110, 120] + [0] * 756)
    table = np.array([[10, 20, 30], [40, 50, 60], [70, 80, 90], [100, 110, 120]])
    np.testing.assert_array_equal(pixels(encoded(palette)), table[GREY % 4])
    bits = PIL.Image.fromarray(GREY).convert('1', dither=0)
    assert set(np.unique(pixels(encoded(bits)))) == {0, 255}
    cmyk = PIL.Image.new('CMYK', (8, 8), (0, 255, 255, 0))
    assert np.abs(pixels(encoded(cmyk, 'JPEG')).reshape(-1, 3).mean(0) - [255, 0, 0]).max() < 5


def test_animations_give_their_first_frame():
    frames = [PIL.Image.new('RGB', (9, 7), colour) for colour in ('red', 'blue', 'lime')]
    found = pixels(encoded(frames[0], 'GIF', save_all=True, append_images=frames[1:]))
    assert found.shape == (7, 9, 3) and (found == [255, 0, 0]).all()


@pytest.mark.parametrize('orientation', range(1, 9))
def test_exif_orientation_turns_the_image_upright_unless_told_not_to(orientation):
    upright = np.zeros([40, 64, 3], np.uint8)
    upright[:20, :32] = 255  # white quarter at the top left
    stored = {1: upright, 2: upright[:, ::-1], 3: upright[::-1, ::-1], 4: upright[::-1],
              5: upright.transpose(1, 0, 2), 6: np.rot90(upright), 7: upright[::-1, ::-1].transpose(1, 0, 2),
              8: np.rot90(upright, 3)}[orientation]
    exif = PIL.Image.Exif()
    exif[0x0112] = orientation
    content = encoded(PIL.Image.fromarray(np.ascontiguousarray(stored)), 'JPEG', quality=95, exif=exif.tobytes())
    photo = decode(content, 10 ** 6)
    assert photo.orientation == orientation
    np.testing.assert_array_equal(photo.pixels > 127, upright > 127)
    as_stored = decode(content, 10 ** 6, upright=False)
    assert as_stored.orientation == 1 and as_stored.pixels.shape == stored.shape


def test_impossible_orientation_is_ignored():
    exif = PIL.Image.Exif()
    exif[0x0112] = 42
    assert decode(encoded(PIL.Image.fromarray(COLOUR), 'JPEG', exif=exif.tobytes()), 10 ** 6).orientation == 1


def test_large_images_are_refused_before_they_are_decoded():
    def chunk(kind, data):
        return struct.pack('>I', len(data)) + kind + data + struct.pack('>I', zlib.crc32(kind + data))

    bomb = b'\x89PNG\r\n\x1a\n' + chunk(b'IHDR', struct.pack('>IIBBBBB', 60000, 60000, 8, 2, 0, 0, 0)) \
        + chunk(b'IDAT', zlib.compress(bytes(1000))) + chunk(b'IEND', b'')
    assert refusal(bomb) == 'too_many_pixels'
    assert refusal(encoded(PIL.Image.new('L', (101, 100))), max_pixels=10000) == 'too_many_pixels'
    assert pixels(encoded(PIL.Image.new('L', (100, 100))), max_pixels=10000).shape == (100, 100, 3)


def test_damaged_and_foreign_files_have_their_reasons():
    whole = encoded(PIL.Image.fromarray(np.random.RandomState(1).randint(0, 255, [64, 64, 3], np.uint8)), 'JPEG')
    assert refusal(whole[:len(whole) // 2]) == 'corrupt'
    assert refusal(b'') == 'empty'
    assert refusal(b'<html>not found</html>') == 'not_an_image'
    assert refusal(b'%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n') == 'not_an_image'  # would start a program


@pytest.mark.both
@pytest.mark.parametrize('content, reason, words', [
    (b'\0\0\0\x18ftypheic\0\0\0\0mif1heic', 'other_format', 'a HEIC picture, which is not read here; turn it'),
    (b'\0\0\0\x1cftypmif1\0\0\0\0mif1avif', 'other_format', 'an AVIF picture'),
    (b'\xff\x0a\xfa\x7f', 'other_format', 'a JPEG XL picture'),
    (b'8BPS\0\1', 'other_format', 'a Photoshop picture'),
    (b'\0\0\0\x14ftypqt  \0\0\0\0', 'not_an_image', 'a video'),
    (b'<?xml version="1.0"?>\n<svg/>', 'not_an_image', 'a drawing in SVG'),
    (b'<!DOCTYPE html><title>404</title>', 'not_an_image', 'a web page'),
    (b'version https://git-lfs.github.com/spec/v1\noid sha256:0\n', 'not_an_image', 'a git-LFS pointer'),
    (b'whatever', 'not_an_image', 'not an image that can be read')])
def test_files_of_other_kinds_are_named(content, reason, words):
    with pytest.raises(Unusable) as caught:
        decode(content + bytes(300), 10 ** 6)
    assert caught.value.reason == reason and str(caught.value).startswith(words)


def test_files_that_cannot_be_read_have_their_reasons(tmp_path):
    with pytest.raises(Unusable) as caught:
        read_file(str(tmp_path / 'absent.jpg'))
    assert caught.value.reason == 'unreadable'
    os.mkfifo(str(tmp_path / 'pipe'))
    with pytest.raises(Unusable) as caught:
        read_file(str(tmp_path / 'pipe'))
    assert caught.value.reason == 'not_a_file'
    (tmp_path / 'abc').write_bytes(b'abc')
    content, digest = read_file(str(tmp_path / 'abc'))
    assert content == b'abc' and digest.startswith('ba7816bf')


@pytest.mark.both
def test_deliberately_bad_files_decode_or_are_refused_in_words(reference_dir):
    reasons = {}
    for path in sorted((reference_dir / 'data' / 'bad-images').iterdir()):
        try:
            photo = decode(path.read_bytes(), 64 * 10 ** 6, allow_webp=True)
            assert photo.pixels.dtype == np.uint8 and photo.pixels.shape[2] == 3, path.name
        except Unusable as err:
            assert str(err)
            reasons[path.name] = err.reason
    assert reasons['decompression_bomb.gif'] == 'too_many_pixels'
    assert reasons['broken.png'] == 'not_an_image'
    for name in ('truncated_image.png', 'truncated_jpeg.jpg', 'png_decompression_dos.png', 'broken_data_stream.png'):
        assert reasons[name] == 'corrupt', name
    assert not [name for name in reasons if name.startswith('hopper_orientation')]
