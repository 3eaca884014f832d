"""Finds faces: the cascade of the `mtcnn` package 0.1.1 (facenet's), with float boxes and ties broken the same way
everywhere.

The package's own result truncates boxes to whole pixels, and its suppression step depends on how a NumPy release sorts
equal scores. Here neither happens, so both engines give the same boxes.
"""

import cv2
import numpy as np

from data.prefilter import boxes as bx
from data.prefilter.boxes import WINDOW, pyramid_scales
from data.prefilter.networks import CascadeNetworks
from data.prefilter.weights import PACKAGE, load_weights
from dnnlib.tflib import ENGINE, tf

THRESHOLDS = (0.6, 0.7, 0.7)

_MAX_PIECE = 1 << 21


class Detector:
    """MTCNN. Making one loads TensorFlow and takes seconds; keep it, and make it in the process that uses it.

    Args:
        min_face: side of the smallest face to find, in pixels.
        weights_path: the package's weights file; None finds it.
        num_threads: CPU threads to use.
    """

    def __init__(self, min_face=20, weights_path=None, num_threads=1):
        assert min_face >= 1
        self.min_face = min_face
        self._networks = CascadeNetworks(load_weights(weights_path), num_threads)
        cv2.setNumThreads(num_threads)

    def detect(self, image):
        """Finds all faces.

        Args:
            image: [H, W, 3] uint8, RGB.

        Returns:
            boxes: [N, 4] float64, (x0, y0, x1, y1) in pixels, not clipped to the image.
            scores: [N] float64 in [0, 1], best first.
        """
        return self.detect_landmarks(image)[:2]

    def detect_landmarks(self, image):
        """Like `detect`, and of every face the landmarks: [N, 5, 2] float64, (x, y) in pixels whose centres are whole
        numbers, of both eyes, the nose, and both corners of the mouth, left in the picture first."""
        assert image.ndim == 3 and image.shape[2] == 3 and image.dtype == np.uint8, (image.shape, image.dtype)
        image = np.ascontiguousarray(image)
        boxes = self._first_stage(image)
        boxes = self._second_stage(image, boxes)
        return self._third_stage(image, boxes)

    @staticmethod
    def versions():
        """Versions of what the boxes depend on."""
        return {'weights': PACKAGE, 'engine': ENGINE, 'tensorflow': tf.__version__, 'opencv': cv2.__version__}

    def close(self):
        self._networks.close()

    def _first_stage(self, image):
        """Proposals at all scales → [N, 4] squares of whole numbers."""
        parts = []
        for scale in pyramid_scales(image.shape[0], image.shape[1], self.min_face):
            scores, regression = self._propose(image, scale)
            boxes, scores, regression = bx.proposals(scores, regression, scale, THRESHOLDS[0])
            keep = bx.suppress(boxes, scores, 0.5)
            parts.append((boxes[keep], scores[keep], regression[keep]))
        if not parts:
            return np.zeros([0, 4])
        boxes, scores, regression = (np.concatenate(part) for part in zip(*parts))
        keep = bx.suppress(boxes, scores, 0.7)
        return np.trunc(bx.make_square(bx.shift_by_size(boxes[keep], regression[keep], inclusive=False)))

    def _propose(self, image, scale):
        """The first network over one level of the pyramid, in bands of rows, which bounds the memory it takes."""
        height, width = (int(np.ceil(n * scale)) for n in image.shape[:2])
        level = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
        num_rows = (height - 1) // 2 - 4
        step = max(_MAX_PIECE // width // 2, 1)
        if num_rows <= step:
            return self._networks.propose(_normalized(level))
        # Row r of the maps sees the rows from 2 r to 2 r + 11 of the level; only the last one may see fewer.
        bands = [self._networks.propose(_normalized(level[2 * r:2 * (min(r + step, num_rows) - 1) + WINDOW]))
                 for r in range(0, num_rows, step)]
        return tuple(np.concatenate(maps) for maps in zip(*bands))

    def _second_stage(self, image, boxes):
        """Scores and corrects proposals → [N, 4] squares."""
        if not len(boxes):
            return boxes
        scores, regression = self._networks.refine(_patches(image, boxes, 24))
        passed = np.nonzero(scores > THRESHOLDS[1])[0]
        boxes, scores, regression = (a[passed].astype(np.float64) for a in (boxes, scores, regression))
        keep = bx.suppress(boxes, scores, 0.7)
        return bx.make_square(bx.shift_by_size(boxes[keep], regression[keep]))

    def _third_stage(self, image, boxes):
        """Scores and corrects what is left → (boxes, scores, landmarks)."""
        if not len(boxes):
            return np.zeros([0, 4]), np.zeros([0]), np.zeros([0, 5, 2])
        boxes = np.trunc(boxes)
        scores, regression, places = self._networks.output(_patches(image, boxes, 48))
        passed = np.nonzero(scores > THRESHOLDS[2])[0]
        boxes, scores, regression, places = (a[passed].astype(np.float64)
                                             for a in (boxes, scores, regression, places))
        # Boxes count pixels from 1.
        size = boxes[:, np.newaxis, 2:] - boxes[:, np.newaxis, :2] + 1
        landmarks = places.reshape(-1, 2, 5).transpose(0, 2, 1) * size + boxes[:, np.newaxis, :2] - 1
        boxes = bx.shift_by_size(boxes, regression)
        keep = bx.suppress(boxes, scores, 0.7, relative_to='smaller')
        return boxes[keep], scores[keep], landmarks[keep]


def _normalized(image):
    """uint8 or float 0…255 → float32 in [-1, 1)."""
    return np.asarray(image, np.float32) * np.float32(1 / 128) - np.float32(127.5 / 128)


def _patches(image, boxes, size):
    """Cuts out each box, black where it leaves the image, and resizes it → [N, size, size, 3] float32 in [-1, 1)."""
    height, width = image.shape[:2]
    full, inside = bx.patch_windows(boxes, width, height)
    patches = np.zeros([len(boxes), size, size, 3])
    for patch, (fx0, fy0, fx1, fy1), (x0, y0, x1, y1) in zip(patches, full.tolist(), inside.tolist()):
        if x1 <= x0 or y1 <= y0:
            continue
        source = np.zeros([fy1 - fy0, fx1 - fx0, 3])
        source[y0 - fy0:y1 - fy0, x0 - fx0:x1 - fx0] = image[y0:y1, x0:x1]
        cv2.resize(source, (size, size), dst=patch, interpolation=cv2.INTER_AREA)
    return _normalized(patches)
