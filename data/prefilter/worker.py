"""What happens to one photograph, and the process in which it happens to many."""

import collections
import concurrent.futures
import errno
import io
import json
import os
import platform
import signal
import threading

import numpy as np
import PIL

from data import ledger
from data.cluster.attempts import own_name
from data.images import is_image_name
from data.prefilter import alignment, limits, locks
from data.prefilter.crop import choose, crop_rectangle, cut
from data.prefilter.decode import Unusable, decode, read_file
from dnnlib import machine
from dnnlib.errors import UserError
from dnnlib.files import make_folders, sync
from dnnlib.util import call_func_by_name

PNG_LEVEL = 4
"""Compression: half the time of Pillow's own choice for 3 % more bytes."""

RECYCLE_IMAGES = 20000
RECYCLE_BYTES = 3 << 29
_UNSAVED = 4


class Examiner:
    """Decides about photographs. settings: `Settings`."""

    def __init__(self, settings):
        self._settings = settings
        self._settings_text = str(settings)
        self._detector = None
        if settings.landmarks is None:
            self._detector = call_func_by_name(func_name=settings.detector, min_face=settings.min_face)

    def versions(self):
        """Versions of what decides about pixels and boxes."""
        found = {} if self._detector is None else self._detector.versions()
        return dict(found, numpy=np.__version__, pillow=PIL.__version__, python=platform.python_version())

    def examine(self, entry):
        """Returns (Row, PNG file as bytes or None) for a `scan.Entry`. Does not raise for anything in the file."""
        facts = {'settings': self._settings_text}
        try:
            return self._examine(entry, facts)
        except Unusable as err:
            return ledger.row(entry.path, ledger.REJECTED, err.reason, detail=str(err), **facts), None
        except MemoryError:
            return ledger.row(entry.path, ledger.REJECTED, 'out_of_memory', **facts), None
        except Exception as err:  # one strange photograph must not stop ten million others
            detail = f'{type(err).__name__}: {" ".join(str(err).split())[:200]}'
            return ledger.row(entry.path, ledger.REJECTED, 'failed', detail=detail, **facts), None

    def _examine(self, entry, facts):
        settings = self._settings
        if entry.reason is not None:
            raise Unusable(entry.reason, entry.detail)
        content, facts['sha256'] = read_file(os.path.join(settings.folder, entry.path))
        if settings.exclude is not None and entry.path in settings.exclude:
            raise Unusable('excluded', 'on the list of images to leave out')
        if settings.include is not None and entry.path not in settings.include:
            raise Unusable('not_included', 'not on the list of images to keep')
        try:
            photo = decode(content, settings.max_pixels, settings.upright, settings.allow_webp)
        except Unusable as err:
            if err.reason == 'not_an_image' and is_image_name(entry.path):
                raise Unusable('corrupt', str(err)) from None
            raise
        height, width = photo.pixels.shape[:2]
        facts.update(width=width, height=height, mode=photo.mode, format=photo.format, orientation=photo.orientation)
        if settings.landmarks is not None:
            points = settings.landmarks.find(entry.path)
            if points is None:
                raise Unusable('no_landmarks', 'not in the file of landmarks')
            return self._align(entry, photo, points, facts)
        if settings.align:
            boxes, scores, landmarks = self._detector.detect_landmarks(photo.pixels)
        else:
            boxes, scores = self._detector.detect(photo.pixels)
        facts.update(num_faces=len(boxes), boxes=boxes, scores=scores)
        if not len(boxes):
            raise Unusable('no_face', '')
        chosen = choose(boxes, width, height, settings.choose)
        if chosen is None:
            raise Unusable('several_faces', '')
        if settings.align:
            facts.update(chosen=chosen, score=scores[chosen])
            return self._align(entry, photo, alignment.points_of(landmarks[chosen]), facts)
        rectangle = crop_rectangle(boxes[chosen], width, height, settings.margin)
        facts.update(zip(('x0', 'y0', 'x1', 'y1'), rectangle), chosen=chosen, score=scores[chosen])
        if rectangle[2] <= rectangle[0] or rectangle[3] <= rectangle[1]:
            raise Unusable('empty_crop', 'the box lies outside the image')
        limits.refuse(settings, (rectangle[2] - rectangle[0], rectangle[3] - rectangle[1]), _score(facts))
        png = io.BytesIO()
        cut(photo.pixels, rectangle, settings.size).save(png, 'PNG', compress_level=PNG_LEVEL)
        return ledger.row(entry.path, ledger.KEPT, 'face', output=entry.output, **facts), png.getvalue()

    def _align(self, entry, photo, points, facts):
        """The row and the crop of the square around a face, whose corners the ledger has as `quad` in the details."""
        try:
            quad = alignment.quad_of(points)
            low, high = np.floor(quad.min(axis=0)), np.ceil(quad.max(axis=0))
            facts.update(x0=int(low[0]), y0=int(low[1]), x1=int(high[0]), y1=int(high[1]))
            limits.refuse(self._settings, [limits.square_side(quad)], _score(facts))
            picture, is_padded = alignment.cut(photo.pixels, quad, self._settings.size)
        except ValueError as err:
            raise Unusable('empty_crop', str(err)) from None
        detail = json.dumps(dict(quad=np.round(quad, 3).tolist(), padded=is_padded))
        png = io.BytesIO()
        picture.save(png, 'PNG', compress_level=PNG_LEVEL)
        return ledger.row(entry.path, ledger.KEPT, 'face', output=entry.output, detail=detail, **facts), png.getvalue()


def _score(facts):
    """The confidence in the chosen face as the ledger will have it."""
    return None if facts.get('score') is None else round(float(facts['score']), 6)


class Saver:
    """Makes results last, in a thread of its own, since the disk takes its time to confirm.

    The order is: the crop under a temporary name, its row in the ledger, the crop's name. So a crop that is there has
    a row, and a row whose crop is missing is done again.
    """

    def __init__(self, settings, ledger_path, temp_folder, report):
        self._out, self._report = settings.out, report
        self._temp = os.path.join(temp_folder, f'{own_name()}.png')
        self._ledger = ledger.Appender(ledger_path)
        self._thread = concurrent.futures.ThreadPoolExecutor(max_workers=1)
        self._unsaved = collections.deque()

    def save(self, number, row, output, png):
        """Queues one result; waits while too many are queued. Raises what an earlier one failed with."""
        self._unsaved.append(self._thread.submit(self._save, number, row, output, png))
        while len(self._unsaved) > _UNSAVED:
            self._unsaved.popleft().result()

    def flush(self):
        while self._unsaved:
            self._unsaved.popleft().result()

    def close(self):
        """Waits for the thread; what failed in it is not raised."""
        self._thread.shutdown(wait=True)
        self._ledger.close()

    def _save(self, number, row, output, png):
        if png is None:
            self._ledger.add(row)
        else:
            target = os.path.join(self._out, output)
            try:
                make_folders(os.path.dirname(target))
                if len(os.path.basename(target).encode('utf-8', 'surrogateescape')) > 255 or os.path.isdir(target):
                    raise OSError(errno.EINVAL, 'the crop cannot have this name')
                with open(self._temp, 'wb') as f:
                    f.write(png)
                    f.flush()
                    sync(f)
            except OSError as err:
                if err.errno in (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO):
                    raise
                row = row._replace(decision=ledger.REJECTED, reason='unwritable', detail=err.strerror or str(err),
                                   output='')
                self._ledger.add(row)
            else:
                self._ledger.add(row)
                os.replace(self._temp, target)
        self._report(('done', number, row.decision))


def work(settings, ledger_path, temp_folder, lock_path, pipe):
    """Main function of a worker process.

    Receives lists of (number, Entry) and None to stop; sends ('ready', versions), ('begin', number), ('done', number,
    decision), ('leaving',) before it ends by itself to give back its memory, and ('error', sentence) if the run cannot
    go on.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent answers Ctrl-C
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    lock = locks.share(lock_path)  # kept while this process lives
    try:
        examiner = Examiner(settings)
        sending = threading.Lock()  # two threads write to the pipe

        def send(message):
            with sending:
                pipe.send(message)

        saver = Saver(settings, ledger_path, temp_folder, send)
        try:
            send(('ready', examiner.versions()))
            _work(examiner, saver, pipe, send)
        finally:
            saver.close()
    except (EOFError, ConnectionError):
        pass  # the parent is gone
    except UserError as err:
        pipe.send(('error', str(err)))
    except OSError as err:
        pipe.send(('error', f"cannot write to '{settings.out}': {err.strerror or err}"))
    finally:
        locks.release(lock)


def _work(examiner, saver, pipe, send):
    waiting = collections.deque()
    count = 0
    while True:
        while not waiting or pipe.poll():
            if not waiting:
                saver.flush()
            message = pipe.recv()
            if message is None:
                saver.flush()
                return
            waiting.extend(message)
        number, entry = waiting.popleft()
        send(('begin', number))
        row, png = examiner.examine(entry)
        saver.save(number, row, entry.output, png)
        count += 1
        if count >= RECYCLE_IMAGES or machine.peak_memory() > RECYCLE_BYTES:
            saver.flush()
            send(('leaving',))
            return
