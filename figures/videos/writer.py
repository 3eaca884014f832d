"""Writes videos as MP4 (H.264), which every browser plays."""

import contextlib
import errno
import os

import numpy as np

from dnnlib.errors import UserError
from dnnlib.files import atomic_path
from dnnlib.machine import free_disk
from figures import composing

SMALLEST = 256      # pixels: smaller pictures are enlarged, with visible pixels
LITTLE = 1 << 20    # bytes of free disk
QUALITY = '18'      # constant rate factor: hardly to be told from the original


def picture_of(images):
    """The frame of images uint8 [H, W, C] side by side, as an array [H, W, 3] of even height and width."""
    pictures = [composing.to_picture(image) for image in images]
    width, height = pictures[0].size
    factor = -(-SMALLEST // max(width, height)) if max(width, height) < SMALLEST else 1
    if factor > 1:
        pictures = [composing.enlarge(picture, width * factor, height * factor) for picture in pictures]
    frame = np.asarray(composing.grid([pictures]))
    return np.pad(frame, [(0, frame.shape[0] % 2), (0, frame.shape[1] % 2), (0, 0)], mode='edge')


def write(path, frames, fps):
    """Stores frames (an iterator of lists of images) as an MP4 file, which appears whole or not at all.

    Returns the number of frames. Raises UserError where there is no encoder, or it fails.
    """
    try:
        import imageio_ffmpeg
    except ImportError as err:
        raise UserError('videos need the package imageio-ffmpeg: pip install imageio-ffmpeg') from err
    count, encoder = 0, None
    with atomic_path(path) as temp:
        try:
            for images in frames:
                frame = picture_of(images)
                if encoder is None:
                    encoder = imageio_ffmpeg.write_frames(
                        temp, (frame.shape[1], frame.shape[0]), fps=fps, codec='libx264', quality=None, bitrate=None,
                        macro_block_size=2, pix_fmt_out='yuv420p',
                        output_params=['-crf', QUALITY, '-movflags', '+faststart'])
                    encoder.send(None)
                encoder.send(np.ascontiguousarray(frame))
                count += 1
            encoder.close()
            written = imageio_ffmpeg.count_frames_and_secs(temp)[0]
        except (OSError, RuntimeError) as err:
            if free_disk(path) < LITTLE:    # of which the encoder tells the terminal alone
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), path) from err
            raise UserError(f'{path}: the video could not be encoded: {" ".join(str(err).split())[-300:]}') from err
        finally:
            if encoder is not None:     # before the file is put in its place, or away
                with contextlib.suppress(OSError, RuntimeError):
                    encoder.close()
        if written != count:
            raise UserError(f'{path}: the encoder kept {written} of {count} frames; there may be no space on the disk')
    return count
