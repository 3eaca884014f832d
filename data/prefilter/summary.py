"""What the ledger says in total."""

import collections
import os
import re

from data import ledger
from dnnlib.files import sha256_file

ENLARGED = 2
"""Crops that are enlarged more than so many times are worth a warning."""

NO_IMAGE = ('not_an_image', 'not_a_file', 'broken_link', 'repeated_link')
"""Reasons of rows that stand for no photograph."""


def summarize(rows):
    """Counts and rates of decisions, reasons and faces, from the rows of a ledger.

    Rates relate to all rows, `kept_of_images` to those which stand for images.
    """
    reasons, decisions, faces, settings = (collections.Counter() for _ in range(4))
    enlarged, smallest = 0, None
    for item in rows:
        decisions[item.decision] += 1
        reasons[item.reason] += 1
        settings[item.settings] += 1
        if _whole(item.num_faces) is not None:
            faces[_whole(item.num_faces)] += 1
        corners = [_whole(value) for value in (item.x0, item.y0, item.x1, item.y1)]
        if item.decision == ledger.KEPT and None not in corners:
            crop = corners[2] - corners[0], corners[3] - corners[1]
            smallest = crop if smallest is None else min(smallest, crop, key=min)
            enlarged += ENLARGED * min(crop) < _size(item.settings)
    files = sum(decisions.values())
    images = files - sum(reasons[reason] for reason in NO_IMAGE)
    return {
        'files': files,
        'images': images,
        'kept': decisions[ledger.KEPT],
        'rejected': decisions[ledger.REJECTED],
        'kept_of_images': _rate(decisions[ledger.KEPT], images),
        'reasons': {reason: {'count': count, 'rate': _rate(count, files)}
                    for reason, count in sorted(reasons.items(), key=lambda pair: (-pair[1], pair[0]))},
        'images_by_number_of_faces': {str(count): faces[count] for count in sorted(faces)},
        'settings': sorted(settings),
        'enlarged': enlarged,
        'smallest_crop': smallest and list(smallest),
    }


def _whole(text):
    """The number in a column of a ledger, None for anything else."""
    return int(text) if re.match(r'[0-9]{1,9}\Z', text) else None


def _size(settings):
    """Side of the crops, from a ledger's text about the settings; 0 if it does not say."""
    match = re.search(r'(?:^| )size=([0-9]{1,6})(?: |$)', settings)
    return int(match.group(1)) if match else 0


def _rate(count, total):
    return round(count / total, 6) if total else 0.0


def describe_ledger(path):
    return {'file': os.path.basename(path), 'sha256': sha256_file(path)}


def to_text(content):
    """A few lines for people."""
    lines = [f"{content['files']} files, {content['images']} images: {content['kept']} kept "
             f"({content['kept_of_images']:.2%} of the images), {content['rejected']} rejected"]
    for reason, entry in content['reasons'].items():
        lines.append(f"  {reason:16} {entry['count']:9} {entry['rate']:9.2%}")
    if content.get('enlarged'):
        smallest = 'x'.join(str(side) for side in content['smallest_crop'])
        lines.append(f"note: {content['enlarged']} of the crops are enlarged more than {ENLARGED} times, the smallest "
                     f'one has {smallest} pixels; --min-crop leaves small ones out')
    others = content['reasons'].get('other_format')
    if others:
        lines.append(f"note: {others['count']} of the files are pictures of kinds that are not read here, such as HEIC "
                     "(the ledger's column detail has them); turn them into JPEG or PNG, and run this again")
    run = content.get('run')
    if run and run['images']:
        lines.append(f"this run: {run['images']} files in {run['seconds']:.1f} s, "
                     f"{run['images_per_second']:.1f} per second, {run['workers']} processes")
    return '\n'.join(lines)
