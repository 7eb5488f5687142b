"""Samples with their latents -> how well planes in latent space tell their kinds apart.

Linear separability (StyleGAN, section 4.2; linear_separability.py): a classifier, taught on real items, says of samples
whether they have an attribute, or of which class they are. Of the half that it is surest of, a linear SVM says the same
from the latents. H(Y|X) is how much of the classifier's answer Y the SVM's answer X leaves open, and the score is the
exponential of the sum over all attributes, or of that over classes: 1 where planes tell everything.

The paper takes 200,000 samples, and the SVM answers for those that it was taught. Of a thousand samples in a space of
512 axes a plane separates anything, so here it answers for the half that it was not taught.
"""

from __future__ import annotations

import math
import warnings

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gangraph.frozen import frozen
from gangraph.train.collapse import reduced
from gangraph.train.data import Data
from gangraph.train.told import SHOWN, Pupil

Rows = NDArray[np.float64]
Answers = NDArray[np.int64]
FOLDS = 2  # an answer that fewer samples have is left out


@frozen
class Separability:
    score: float
    most: float  # what it would be if latents told nothing: the exponential of H(Y)
    options: tuple[int, ...]  # of each question, how many answers it may have
    taught: float  # of real items that the classifier was not taught, the share that it knows

    def __str__(self) -> str:
        asked = f"{self.options[0]} classes" if len(self.options) == 1 else f"{len(self.options)} attributes"
        teller = f"told by a classifier that is right about {self.taught:.0%} of real items"
        return f"at most {self.most:.3g}; of {asked}, {teller}"


def separability(
    latents: Tensor, seen: Tensor, limits: tuple[float, float], data: Data, seed: int
) -> Separability | None:
    """Of samples `seen` [n, ...], which lie between the limits, made from `latents` [n, d].

    None where the data have neither classes nor attributes, or nothing that looks like a sample.
    """
    known, shape = data.set, tuple(seen.shape[1:])
    size = math.prod(shape)
    alike = [(s, m) for s in data.streams for m, t in s.members.items() if s.sources[m] in SHOWN]
    reals = [(s, m) for s, m in alike if math.prod(s.members[m].shape) == size][:1]
    if known.attributes is not None:
        table, options = known.attributes.astype(np.int64), (2,) * len(known.names)
    elif known.labels is not None and len(known.classes) > 1:
        table, options = known.labels[:, None], (len(known.classes),)
    else:
        return None
    if not reals:
        return None
    pupil = Pupil(reals, table, options, shape, seed)
    with torch.no_grad():
        answers = pupil.logits(reduced(seen, None if known.pictures is None else limits))
    found = [left_open(latents.double().numpy(), one.double().softmax(1).numpy(), seed) for one in answers]
    score, most = (math.exp(sum(column)) for column in zip(*found, strict=True))
    return Separability(score, most, options, pupil.score)


def left_open(latents: Rows, shares: Rows, seed: int = 0) -> tuple[float, float]:
    """H(Y|X) and H(Y), in nats. `shares` are the classifier's probabilities [n, answers]; half of the samples count."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.model_selection import StratifiedKFold, cross_val_predict
    from sklearn.svm import LinearSVC

    surest = np.argsort(-shares.max(1), kind="stable")[: len(shares) // 2]
    answers: Answers = shares[surest].argmax(1)
    often = np.flatnonzero(np.bincount(answers) >= FOLDS)
    found = surest[np.isin(answers, often)]
    answers = shares[found].argmax(1)
    if len(often) < 2:
        return 0.0, 0.0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        folds = StratifiedKFold(FOLDS, shuffle=True, random_state=seed)
        told = cross_val_predict(LinearSVC(), latents[found], answers, cv=folds)
    return entropy(answers, told), entropy(answers, np.zeros_like(answers))


def entropy(y: Answers, x: Answers) -> float:
    """H(Y|X) in nats.

    >>> a = np.array([1, 1, 0, 0])
    >>> entropy(a, a), entropy(a, 1 - a), round(entropy(a, np.array([1, 0, 1, 0])), 6)
    (0.0, 0.0, 0.693147)
    """
    both = np.zeros((int(x.max()) + 1, int(y.max()) + 1))
    np.add.at(both, (x, y), 1 / len(y))
    given = both / np.maximum(both.sum(1, keepdims=True), 1e-300)
    return abs(float((both * np.log(np.where(both > 0, given, 1))).sum()))
