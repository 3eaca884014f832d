"""Pixels of any kind become 8-bit grey or RGB, and WebP is decoded only by a library that can be trusted with it."""

import io
import struct
import zlib

import numpy as np
import PIL.features
import PIL.Image
import pytest
from prefilter_helpers import save_photo, settings

from data import pixels
from data.commands import main
from data.images import BadImage, open_image, read_pixels
from data.prefilter.decode import Unusable, decode
from data.prefilter.run import prefilter
from data.records.dataset import TFRecordDataset
from dnnlib.util import UserError


def converted(path, kind='rgb', background=None):
    return np.asarray(read_pixels(open_image(str(path), allow_webp=True), kind, background)).tolist()


def png_16_bits(path, values, color_type):
    """A PNG of one row with 16 bits per channel; color_type: 0 grey, 2 RGB, 4 grey with alpha, 6 RGB with alpha."""
    channels = {0: 1, 2: 3, 4: 2, 6: 4}[color_type]

    def chunk(name, content):
        return struct.pack('>I', len(content)) + name + content + struct.pack('>I', zlib.crc32(name + content))

    row = b'\0' + b''.join(struct.pack('>H', value) for value in values)
    path.write_bytes(b'\x89PNG\r\n\x1a\n' + chunk(b'IHDR', struct.pack('>IIBBBBB', len(values) // channels, 1, 16,
                                                                      color_type, 0, 0, 0))
                     + chunk(b'IDAT', zlib.compress(row)) + chunk(b'IEND', b''))


@pytest.mark.both
def test_sixteen_bits_keep_their_high_byte(tmp_path):
    png_16_bits(tmp_path / 'grey.png', [0x1234, 0xffff, 0x00ff], 0)
    assert converted(tmp_path / 'grey.png') == [[[0x12] * 3, [0xff] * 3, [0] * 3]]
    assert converted(tmp_path / 'grey.png', 'grey') == [[0x12, 0xff, 0]]
    png_16_bits(tmp_path / 'rgb.png', [0x1234, 0xabcd, 0x00ff], 2)
    assert converted(tmp_path / 'rgb.png') == [[[0x12, 0xab, 0]]]
    PIL.Image.fromarray(np.array([[0x1234, 0xfe00]], np.uint16)).save(str(tmp_path / 'grey.tif'))
    assert converted(tmp_path / 'grey.tif', 'grey') == [[0x12, 0xfe]]
    PIL.Image.fromarray(np.array([[0.0, 0.5, 1.0]], np.float32)).save(str(tmp_path / 'unit.tif'))
    assert converted(tmp_path / 'unit.tif', 'grey') == [[0, 128, 255]]
    PIL.Image.fromarray(np.array([[-3.0, 77.4, 300.0]], np.float32)).save(str(tmp_path / 'float.tif'))
    assert converted(tmp_path / 'float.tif', 'grey') == [[0, 77, 255]]


@pytest.mark.both
def test_a_background_shows_through_transparent_pixels(tmp_path):
    image = PIL.Image.new('RGBA', (3, 1))
    image.putdata([(200, 100, 50, 255), (200, 100, 50, 0), (200, 100, 50, 51)])
    image.save(str(tmp_path / 'a.png'))
    beneath = [200, 100, 50]
    assert converted(tmp_path / 'a.png') == [[beneath] * 3]
    assert converted(tmp_path / 'a.png', background=(255, 255, 255)) == [[beneath, [255] * 3, [244, 224, 214]]]
    assert converted(tmp_path / 'a.png', background=(0, 0, 255)) == [[beneath, [0, 0, 255], [40, 20, 214]]]
    grey = PIL.Image.new('LA', (2, 1))
    grey.putdata([(10, 255), (10, 0)])
    grey.save(str(tmp_path / 'grey.png'))
    assert converted(tmp_path / 'grey.png', 'grey', (7, 7, 7)) == [[10, 7]]
    assert converted(tmp_path / 'grey.png', 'grey') == [[10, 10]]
    assert converted(tmp_path / 'grey.png', 'rgb', (255, 0, 0)) == [[[10] * 3, [255, 0, 0]]]
    palette = PIL.Image.new('P', (2, 1))
    palette.putpalette([1, 2, 3, 4, 5, 6] + [0] * 762)
    palette.putdata([0, 1])
    palette.save(str(tmp_path / 'p.png'), transparency=1)
    assert converted(tmp_path / 'p.png', background=(9, 9, 9)) == [[[1, 2, 3], [9, 9, 9]]]
    assert converted(tmp_path / 'p.png') == [[[1, 2, 3], [4, 5, 6]]]


@pytest.mark.parametrize('text, color', [('white', (255, 255, 255)), ('#0a141e', (10, 20, 30)), ('none', None),
                                         ('10,20,30', (10, 20, 30))])
def test_backgrounds_are_colours(text, color):
    assert pixels.parse_background(text) == color
    with pytest.raises(UserError, match='is no colour; white, #aabbcc, 10,20,30 or none'):
        pixels.parse_background(text + '300')


def test_data_sets_of_pictures_of_all_kinds(tmp_path):
    (tmp_path / 'in').mkdir()
    PIL.Image.new('RGBA', (8, 8), (200, 100, 50, 0)).save(str(tmp_path / 'in' / 'a.png'))
    PIL.Image.new('CMYK', (8, 8), (0, 0, 0, 255)).save(str(tmp_path / 'in' / 'b.tif'))
    png_16_bits(tmp_path / 'in' / 'c.png', [0x1234] * 4, 0)
    command = ['create_from_images', str(tmp_path / 'set'), str(tmp_path / 'in'), '--shuffle', '0', '--resize', '8']
    with pytest.raises(UserError, match='--convert rgb:\n.*a.png has an alpha channel\n.*CMYK colours\n.*16 or more'):
        main(command)
    with pytest.raises(UserError, match="the background 'beach' is no colour"):
        main(command + ['--convert', 'rgb', '--background', 'beach'])
    main(command + ['--convert', 'rgb', '--background', '#010203'])
    images, _ = TFRecordDataset(str(tmp_path / 'set')).get_samples_np(range(3))
    assert images[:, :, 4, 4].tolist() == [[1, 2, 3], [0, 0, 0], [0x12] * 3]


# ---- WebP

@pytest.fixture
def libwebp(monkeypatch):
    """A function that makes the environment's libwebp one of another release."""
    def choose(release):
        monkeypatch.setattr(PIL.features, 'version', lambda name: release)
        pixels.webp_danger.cache_clear()

    yield choose
    pixels.webp_danger.cache_clear()


@pytest.fixture
def webp(tmp_path):
    if not PIL.features.check('webp'):
        pytest.skip('this Pillow writes no WebP')
    (tmp_path / 'in').mkdir()
    path = tmp_path / 'in' / 'picture.jpg'  # whatever it is called
    PIL.Image.new('RGB', (64, 64), (10, 150, 30)).save(str(path), 'WEBP')
    return path


@pytest.mark.both
@pytest.mark.parametrize('release, is_safe', [('1.3.1', False), ('1.3.2', True), ('0.9.9', False), ('1.10.0', True),
                                              (None, False), ('unknown', False)])
def test_webp_is_refused_unless_its_library_is_safe(webp, libwebp, release, is_safe):
    libwebp(release)
    content = webp.read_bytes()
    if is_safe:
        assert open_image(str(webp)).size == (64, 64) and decode(content, 10 ** 6).format == 'WEBP'
        return
    for opened in (str(webp), io.BytesIO(content)):
        with pytest.raises(BadImage, match='is a WebP picture, .*CVE-2023-4863; 1.3.2 cannot.*--allow-webp'):
            open_image(opened)
    with pytest.raises(Unusable, match='--allow-webp') as caught:
        decode(content, 10 ** 6)
    assert caught.value.reason == 'unsafe_webp'
    assert open_image(str(webp), allow_webp=True).size == (64, 64)
    assert decode(content, 10 ** 6, allow_webp=True).format == 'WEBP'


def test_webp_inside_of_tiff_is_webp(tmp_path, libwebp):
    libwebp('1.3.1')
    PIL.Image.new('RGB', (8, 8)).save(str(tmp_path / 'a.tif'))
    content = bytearray((tmp_path / 'a.tif').read_bytes())
    entry = content.index(struct.pack('<HHI', 259, 3, 1))  # the kind of compression
    content[entry + 8:entry + 10] = struct.pack('<H', 50001)
    (tmp_path / 'a.tif').write_bytes(bytes(content))
    with pytest.raises(BadImage, match='is a WebP picture'):
        open_image(str(tmp_path / 'a.tif'))
    with pytest.raises(Unusable, match='is a WebP picture'):
        decode(bytes(content), 10 ** 6)


def test_every_command_refuses_unsafe_webp_and_can_be_told_to_trust_it(tmp_path, webp, libwebp):
    libwebp('1.2.4')
    command = ['create_from_images', str(tmp_path / 'set'), str(tmp_path / 'in'), '--workers', '1']
    with pytest.raises(UserError, match='picture.jpg is a WebP picture'):
        main(command)
    main(command + ['--allow-webp'])
    assert TFRecordDataset(str(tmp_path / 'set')).shape == [3, 64, 64]
    main(['prepare', 'folder', str(tmp_path / 'set2'), str(tmp_path / 'in'), '--no-prefilter', '--size', '16',
          '--allow-webp'])
    (tmp_path / 'celeba').mkdir()
    (tmp_path / 'in').rename(tmp_path / 'celeba' / 'img_align_celeba')
    with pytest.raises(UserError, match='picture.jpg is a WebP picture'):
        main(['create_celeba', str(tmp_path / 'set3'), str(tmp_path / 'celeba')])
    with pytest.raises(UserError, match='picture.jpg is 64x64'):
        main(['create_celeba', str(tmp_path / 'set3'), str(tmp_path / 'celeba'), '--allow-webp'])


# ---- Small crops

@pytest.mark.usefixtures('quick_workers')
def test_small_crops_are_warned_of_and_can_be_rejected(tmp_path, capsys):
    save_photo(tmp_path / 'in' / 'small.png', size=(30, 40))
    save_photo(tmp_path / 'in' / 'large.png', size=(200, 220))
    result = prefilter(settings(tmp_path / 'in', tmp_path / 'out', size=64, margin=0), 1)
    assert result['kept'] == 2 and result['enlarged'] == 1 and result['smallest_crop'] == [15, 20]
    from data.prefilter import summary
    assert '1 of the crops are enlarged more than 2 times, the smallest one has 15x20 pixels; --min-crop' \
        in summary.to_text(result)
    limited = settings(tmp_path / 'in', tmp_path / 'out2', size=64, margin=0, min_crop=16)
    result = prefilter(limited, 1)
    assert str(limited).endswith(' min_crop=16') and result['reasons']['small_crop']['count'] == 1
    assert result['kept'] == 1 and result['enlarged'] == 0
    sure = settings(tmp_path / 'in', tmp_path / 'out3', size=64, margin=0, min_score=0.995)
    assert prefilter(sure, 1)['reasons'] == {'low_score': {'count': 2, 'rate': 1.0}}
