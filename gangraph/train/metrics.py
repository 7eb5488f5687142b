"""Samples of digits -> Table: are they good, are all ten there, are they new?

A classifier learns one half of the real digits. On the other half it is at least `SURE` sure of a certain share: real
digits set the scale. Of good samples it is as often that sure; of samples of every digit it finds every class; and a
sample that was made, not remembered, is not much nearer to a real digit than real digits are to each other.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from gangraph.errors import RunError
from gangraph.frozen import frozen
from gangraph.train.sets import Want, open_set

Rows = NDArray[np.float64]  # [n, pixels], in [0, 1]

SURE = 0.9  # a classifier's probability
NEAR = 0.05  # a copy: nearer than this times the median distance between the halves
RATIO = {"digits": 0.35, "digits8": 0.75}  # sure samples : sure real digits, at least
EACH = 0.03  # samples of each class, of all samples, at least
COPIES = 0.02  # of all samples, less
VERDICTS = {True: "good", False: "MISSED", None: ""}


@frozen
class Line:
    """One thing measured, beside what it has to be."""

    what: str
    value: float
    shown: str
    wanted: str
    good: bool | None = None  # None: a scale, with nothing to reach


@frozen
class Table:
    lines: tuple[Line, ...]

    @property
    def good(self) -> bool:
        return all(line.good is not False for line in self.lines)

    def __getitem__(self, what: str) -> float:
        return next(line.value for line in self.lines if line.what == what)

    def __str__(self) -> str:
        head = ("what", "measured", "wanted", "")
        rows = [head, *((x.what, x.shown, x.wanted, VERDICTS[x.good]) for x in self.lines)]
        widths = [max(len(row[i]) for row in rows) for i in range(4)]
        cells = [
            "  ".join((row[0].ljust(widths[0]), *(c.rjust(w) for c, w in zip(row[1:], widths[1:], strict=True))))
            for row in rows
        ]
        return "\n".join([cells[0], "-" * len(cells[0]), *cells[1:]])


def evaluate_digits(samples: Tensor | NDArray[Any], data: str = "digits") -> Table:
    """Compare samples [n, 1, H, W] in [-1, 1] with the real digits of `data`. Seconds; always the same numbers."""
    from sklearn.linear_model import LogisticRegression

    real, labels = _real(data)
    made = np.clip((np.asarray(samples, np.float64).reshape(len(samples), -1) + 1) / 2, 0, 1)
    if made.shape[1] != real.shape[1]:
        raise RunError(f"samples of {made.shape[1]} pixels cannot be compared with {data}, which have {real.shape[1]}")
    order = np.random.default_rng(0).permutation(len(real))
    one, other = order[: len(order) // 2], order[len(order) // 2 :]

    classifier = LogisticRegression(max_iter=1000).fit(real[one], labels[one])
    sure_real = share_sure(classifier.predict_proba(real[other]))
    probabilities = classifier.predict_proba(made)
    sure = share_sure(probabilities)
    counts = np.bincount(probabilities.argmax(1), minlength=10)
    distance = nearest(made, real) / float(np.median(nearest(real[other], real[one])))
    copies = float((distance < NEAR).mean())

    ratio, least, each = sure / sure_real, RATIO[data], round(EACH * len(made))
    return Table(
        (
            Line("real digits it is 90% sure of", sure_real, f"{sure_real:.3f}", "the scale"),
            Line("samples it is 90% sure of", sure, f"{sure:.3f}", f">= {least * sure_real:.3f}", ratio >= least),
            Line("  as a share of that of real digits", ratio, f"{ratio:.2f}", f">= {least:.2f}", ratio >= least),
            Line(
                "  samples of the rarest class",
                counts.min(),
                f"{counts.min()} of {len(made)}",
                f">= {each}",
                counts.min() >= each,
            ),
            Line("copies of a real digit", copies, f"{copies:.1%}", f"< {COPIES:.0%}", copies < COPIES),
            Line(
                "  median distance to the nearest",
                float(np.median(distance)),
                f"{np.median(distance):.2f}",
                "real: 1",
            ),
        )
    )


def _real(data: str) -> tuple[Rows, NDArray[np.int64]]:
    if data not in RATIO:
        raise RunError(f"{data} are no digits: {' or '.join(RATIO)}")
    found = open_set(data, Want())
    assert found.pictures is not None and found.labels is not None
    return np.stack([found.pictures(i)[0].ravel() for i in range(found.count)]) / 255.0, found.labels


def share_sure(probabilities: NDArray[np.float64]) -> float:
    """The share of rows [n, classes] whose largest probability is at least `SURE`.

    >>> share_sure(np.array([[0.95, 0.05], [0.6, 0.4]]))
    0.5
    """
    return float((probabilities.max(1) >= SURE).mean())


def nearest(a: Rows, b: Rows) -> NDArray[np.float64]:
    """For each row of `a` the distance to its nearest row of `b`.

    >>> nearest(np.array([[0.0, 0.0]]), np.array([[3.0, 4.0], [6.0, 8.0]]))
    array([5.])
    """
    squares = (a**2).sum(1)[:, None] - 2 * a @ b.T + (b**2).sum(1)[None]
    distances: NDArray[np.float64] = np.sqrt(np.maximum(squares, 0)).min(1)
    return distances
