"""What is published about the face sets that the papers use, and why one's own counts may differ."""

import collections

Source = collections.namedtuple('Source', 'title images kept folders about')
"""title: for sentences; images: number published, None if none is; about: whether it is rounded; kept: by the paper's
pre-filter, None if it did not use the set; folders: names that the photographs' folder may have."""

# Counts: "Re-Training StyleGAN", sections II and III; CelebA-HQ and the like have converters of their own.
SOURCES = {
    'celeba': Source('CelebA', 202599, 202281,
                     ('img_align_celeba', 'img_align_celeba_png', 'img_celeba', 'img_celeba_png'), False),
    'casia': Source('CASIA-WebFace', 494414, 491073, ('CASIA-WebFace', 'casia-webface', 'CASIA-maxpy-clean'),
                    False),
    'lfw': Source('LFW', 13233, None, ('lfw', 'lfw_funneled', 'lfw-deepfunneled'), False),
    'vggface2': Source('VGGFace2', 3310000, None, ('VGGFace2', 'vggface2'), True),
    'folder': Source('a folder of photographs', None, None, (), False),
}

_REASONS = {
    'no_face': 'show no face to the detector, which is what the filter is for',
    'several_faces': 'show several faces; the paper takes the most central one (--choose center)',
    'corrupt': 'cannot be decoded: damaged or cut off; download them again',
    'empty': 'are empty files; download them again',
    'unreadable': 'cannot be read: permissions, or a failing disk',
    'excluded': 'are on the list of images to leave out, which the paper did not have',
    'not_included': 'are not on the list of images to keep, which the paper did not have',
    'too_many_pixels': 'are too large (--max-pixels)',
    'out_of_memory': 'do not fit into memory: repeat with fewer --workers',
    'small_crop': 'have a face smaller than --min-crop, which the paper did not have',
    'low_score': 'have a face of less confidence than --min-score, which the paper did not have',
    'unsafe_webp': 'are WebP files, which the libwebp of this environment does not decode safely (--allow-webp)',
    'timeout': 'took too long',
    'crashed': 'end the process that reads them',
    'failed': 'make the detector fail, which the ledger describes',
    'unwritable': 'have names that crops cannot have',
    'empty_crop': 'have their face outside the image',
}


def explain_source(source, count):
    """Text of whole lines about the number of photographs found, '' if there is nothing to say."""
    if source.images is None or count == source.images:
        return ''
    if source.about and abs(count - source.images) <= 0.01 * source.images:
        return ''
    difference = count - source.images
    cause = 'the download is incomplete, unpacking stopped early, or this is a cleaned edition' if difference < 0 else \
        'several editions (aligned and in the wild) or foreign images are mixed in'
    return (f"note: {source.title} has {'about ' if source.about else ''}{source.images} images, {abs(difference)} "
            f"{'fewer' if difference < 0 else 'more'} are here; if that is unexpected, {cause}\n")


def explain_kept(source, summary):
    """Text of whole lines that compare the pre-filter's outcome with the published one, '' if none is published.

    summary: what `prefilter.summary.summarize` returns.
    """
    if source.kept is None:
        return ''
    rejected = source.images - source.kept
    lines = [f"{source.title}: the paper kept {source.kept} of {source.images} ({rejected} rejected, "
             f"{rejected / source.images:.3%}); here {summary['kept']} of {summary['images']} "
             f"({summary['images'] - summary['kept']} rejected, {1 - summary['kept_of_images']:.3%})"]
    if summary['kept'] == source.kept and summary['images'] == source.images:
        return lines[0] + ': equal\n'
    if summary['images'] != source.images:
        lines.append(f"  {abs(summary['images'] - source.images)} images "
                     f"{'fewer' if summary['images'] < source.images else 'more'} than published went in")
    for reason, entry in summary['reasons'].items():
        if reason in _REASONS:
            lines.append(f"  {entry['count']} {_REASONS[reason]}")
    if not all(text.startswith('paper ') for text in summary['settings']):
        lines.append(f"  the settings are not the paper's: {'; '.join(summary['settings'])}")
    lines.append('  the paper does not say whether it took the aligned images or those in the wild'
                 if source.title == 'CelebA' else '  editions of the set differ in how its images were cropped')
    lines.append('  another release of the detector or of the JPEG decoder may change single decisions')
    return '\n'.join(lines) + '\n'
