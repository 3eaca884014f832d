"""The order in which equal scores are visited, which decides between boxes that the network cannot tell apart.

MTCNN's reference implementation sorts with NumPy's default, at that time a quicksort that leaves equal values in no
particular order, and whose newer releases leave them in another one. Saturated scores are often equal, and another
order moves a box by several pixels, so the order of that quicksort is reproduced here: same boxes on every NumPy.
"""

import numpy as np

_SMALL = 15


def ascending(values):
    """Indices that sort `values` [N] as `numpy.argsort` did up to NumPy 1.24 on float64, equal values included."""
    order = np.argsort(values, kind='stable')
    ranked = np.asarray(values)[order]
    if len(order) <= _SMALL + 1 or not (ranked[1:] == ranked[:-1]).any():
        return order  # short stretches are sorted by insertion, which is stable, and without ties there is one order
    return np.array(_quicksort(np.asarray(values).tolist()), np.intp)


def _quicksort(values):
    """Quicksort of indices: pivot is the median of first, middle and last; short stretches are left to insertion."""
    order = list(range(len(values)))
    pending = [(0, len(values) - 1, 2 * (len(values).bit_length() - 1))]
    while pending:
        first, last, depth = pending.pop()
        if depth < 0:
            order[first:last + 1] = _heapsort(values, order[first:last + 1])
            continue
        while last - first > _SMALL:
            middle = _partition(values, order, first, last)
            depth -= 1
            if middle - first < last - middle:
                pending.append((middle + 1, last, depth))
                last = middle - 1
            else:
                pending.append((first, middle - 1, depth))
                first = middle + 1
        order[first:last + 1] = sorted(order[first:last + 1], key=values.__getitem__)
    return order


def _partition(values, order, first, last):
    """Splits order[first..last] around a pivot and returns where the pivot came to stand."""
    middle = first + (last - first) // 2
    for a, b in ((first, middle), (middle, last), (first, middle)):
        if values[order[b]] < values[order[a]]:
            order[a], order[b] = order[b], order[a]
    pivot = values[order[middle]]
    i, j = first, last - 1
    order[middle], order[j] = order[j], order[middle]
    while True:
        i += 1
        while values[order[i]] < pivot:
            i += 1
        j -= 1
        while pivot < values[order[j]]:
            j -= 1
        if i >= j:
            break
        order[i], order[j] = order[j], order[i]
    order[i], order[last - 1] = order[last - 1], order[i]
    return i


def _heapsort(values, order):
    """What the quicksort falls back to when its partitions stay lopsided."""
    heap = list(order)

    def sink(node, end):
        item = heap[node]
        child = 2 * node + 1
        while child < end:
            if child + 1 < end and values[heap[child]] < values[heap[child + 1]]:
                child += 1
            if not values[item] < values[heap[child]]:
                break
            heap[node] = heap[child]
            node, child = child, 2 * child + 1
        heap[node] = item

    for node in range(len(heap) // 2 - 1, -1, -1):
        sink(node, len(heap))
    for end in range(len(heap) - 1, 0, -1):
        heap[0], heap[end] = heap[end], heap[0]
        sink(0, end)
    return heap
