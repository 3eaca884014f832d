"""What one run of the pre-filter is asked for; travels to the worker processes and into the ledger."""

MAX_PIXELS = 64 * 1000 * 1000
DETECTOR = 'data.prefilter.detector.Detector'


class Settings:
    """Everything that decides about images.

    folder: the photographs' folder; out: the crops'.
    margin: added to the box's width and to its height, in pixels of the photograph. size: side of the crops.
    min_face: side of the smallest face looked for. choose: one of `crop.CHOICES`.
    upright: turn photographs as their EXIF entry says. paper: all of this is as the paper had it.
    max_pixels: larger photographs are refused. include, exclude: `lists.ImageList`, or None.
    allow_webp: trust WebP pictures even if the library that decodes them is known to be unsafe.
    min_crop: least width and height of the crop in pixels of the photograph; min_score: least confidence in the face.
    align: 'ffhq' cuts out the oriented square around eyes and mouth, see `alignment`; None the box.
    landmarks: `landmarks.Landmarks` of another detector, or None: those of this one.
    detector: name of the class that finds faces, made once in each worker process; its interface is that of
        `detector.Detector`.
    """

    def __init__(self, folder, out, margin=50, size=256, min_face=20, choose='center', upright=True, paper=False,
                 max_pixels=MAX_PIXELS, include=None, exclude=None, allow_webp=False, min_crop=0, min_score=0.0,
                 detector=DETECTOR, align=None, landmarks=None):
        self.folder, self.out = folder, out
        self.margin, self.size, self.min_face, self.choose = margin, size, min_face, choose
        self.upright, self.paper, self.max_pixels = upright, paper, max_pixels
        self.include, self.exclude = include, exclude
        self.allow_webp = allow_webp
        self.min_crop, self.min_score = min_crop, min_score
        self.detector = detector
        self.align, self.landmarks = align, landmarks

    def __str__(self):
        """One line for the ledger, equal for settings that decide alike."""
        words = ['paper'] if self.paper else []
        words += [f'margin={self.margin:g}', f'size={self.size}', f'min_face={self.min_face}',
                  f'choose={self.choose}', f'exif={int(self.upright)}', f'max_pixels={self.max_pixels}']
        words += [f'{name}={chosen.digest}' for name, chosen in (('include', self.include), ('exclude', self.exclude))
                  if chosen is not None]
        words += ['webp=1'] if self.allow_webp else []
        words += [f'min_crop={self.min_crop}'] if self.min_crop else []
        words += [f'min_score={self.min_score:g}'] if self.min_score else []
        words += [f'align={self.align}'] if self.align else []
        words += [f'landmarks={self.landmarks.digest}'] if self.landmarks is not None else []
        return ' '.join(words)
