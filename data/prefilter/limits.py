"""What --min-crop and --min-score leave out: of photographs that are looked at, and of a ledger's rows of earlier."""

import re

import numpy as np

from data import ledger
from data.prefilter.decode import Unusable
from dnnlib.files import parse_json

REASONS = ('small_crop', 'low_score')


def refuse(settings, size, score):
    """Raises Unusable for a crop that is too small or a face that is too uncertain.

    size: width and height of the crop in pixels of the photograph, or the side of a square; score: the detector's
    confidence as the ledger has it, to six digits, None where no face was looked for.
    """
    if min(size) < settings.min_crop:
        raise Unusable('small_crop', f"{'x'.join(f'{length:.5g}' for length in size)} pixels")
    if score is not None and score < settings.min_score:
        raise Unusable('low_score', f'{score:.4f}')


def square_side(quad):
    """Side of an aligned crop, in pixels of the photograph, from its corners [4, 2] as the ledger has them."""
    quad = np.round(quad, 3)
    return float(np.hypot(*(quad[3] - quad[0])))


def apart(text):
    """Settings as the ledger writes them, without what one can change for rows that are there: both limits.

    `paper` goes with them, since it says that there are none.
    """
    return ' '.join(word for word in text.split(' ') if word != 'paper' and not re.match('min_(crop|score)=', word))


def judge_again(item, settings):
    """A row of a ledger as `settings` would have it, which differ from its own in their limits at most.

    None if the photograph has to be looked at again: its crop was not made, or the row is damaged.
    """
    text = str(settings)
    if item.settings == text or item.decision == ledger.REJECTED and item.reason not in REASONS:
        return item._replace(settings=text)
    if item.decision == ledger.REJECTED and settings.align:
        return None
    try:
        if settings.align:
            size = [square_side(parse_json(item.detail)['quad'])]
        else:
            size = int(item.x1) - int(item.x0), int(item.y1) - int(item.y0)
        refuse(settings, size, float(item.score) if item.score else None)
    except Unusable as err:
        return item._replace(decision=ledger.REJECTED, reason=err.reason, detail=str(err), output='', settings=text)
    except (ValueError, TypeError, KeyError, IndexError):
        return None
    return item._replace(settings=text) if item.decision == ledger.KEPT else None
