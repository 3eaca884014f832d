"""What a metric returns."""

from collections import OrderedDict

from metrics.arithmetic import standard_error_from_halves

VALUE_FORMAT = '%-10.4f'    # the original's, for lines of text


class Result:
    """What a metric found on one network. Keys are suffixes, which follow the metric's name in the value's name.

    Attributes:
        values: suffix -> number; NaN where there is none.
        standard_errors: suffix -> standard error of the value; None where it is unknown.
        formats: suffix -> how lines of text show the value, such as '%-10.4f'.
        num_samples: samples that it rests on; None: the metric's attribute `num_images` or `num_samples`.
        details: further facts for the record: nested dicts, lists, arrays and numbers.
        problems: sentences on what makes the values less than their names promise.
        notes: sentences on what the values are.
    """

    def __init__(self, num_samples=None):
        self.values = OrderedDict()
        self.standard_errors = OrderedDict()
        self.formats = OrderedDict()
        self.num_samples = num_samples
        self.details = OrderedDict()
        self.problems = []
        self.notes = []

    def add(self, value, suffix='', standard_error=None, fmt=VALUE_FORMAT):
        """Enters a value."""
        self.values[suffix] = float(value)
        self.standard_errors[suffix] = None if standard_error is None else float(standard_error)
        self.formats[suffix] = fmt

    def add_with_halves(self, value, pairs, suffix=''):
        """Enters a value whose standard error follows from scores of disjoint halves, [R, 2]; from none, none does."""
        self.add(value, suffix, standard_error_from_halves(pairs) if len(pairs) else None)
