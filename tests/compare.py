"""Whether two runs gave the same: everything alike but for the last digits of numbers."""

TOLERANCE = 0.02
"""How far scores, probabilities and weights may lie apart: docs/performance.md says why."""


def difference(one, other, where=""):
    """The first place where two results differ, or None."""
    if isinstance(one, dict) and isinstance(other, dict) and one.keys() == other.keys():
        pairs = [(one[key], other[key], f"{where}.{key}") for key in one]
    elif isinstance(one, list | tuple) and isinstance(other, list | tuple):
        if len(one) != len(other):
            return f"{where}: {len(one)} and {len(other)} items"
        pairs = [(a, b, f"{where}[{n}]") for n, (a, b) in enumerate(zip(one, other, strict=True))]
    elif isinstance(one, float) and isinstance(other, float):
        return None if abs(one - other) <= TOLERANCE else f"{where}: {one} and {other}"
    else:
        return None if one == other else f"{where}: {one!r} and {other!r}"
    return next(filter(None, (difference(*pair) for pair in pairs)), None)


def expect_same(results, others):
    """Fail where two lists of results differ."""
    found = difference([r.model_dump() for r in results], [r.model_dump() for r in others])
    assert not found, found
