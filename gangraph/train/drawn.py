"""A plain picture and some attributes -> the picture drawn so, and sentences that say how.

An attribute is 0 or 1, and is seen in the picture: also when the picture is mirrored, cut at its edges, or grey. An
embedding is no network's: each word has Gaussian numbers of its own, always the same ones, and a sentence is their sum
over its words. So sentences with words in common are near each other, and the order of the words is lost.
"""

from __future__ import annotations

import zlib
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

Picture = NDArray[np.uint8]  # H x W, or H x W x 3
DIGIT = ("thick", "small", "red", "striped", "inverted")
PHOTO = ("blurred", "grey", "dark", "striped", "negative")
NUMBERS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
STRIPES = 7  # of a picture, whatever its height


def digit(picture: Picture, names: frozenset[str], side: int) -> Picture:
    """A white digit on black, H x W -> side x side x 3, drawn with these of the attributes `DIGIT`."""
    from PIL import Image, ImageFilter

    image = Image.fromarray(picture)
    if "small" in names:
        width, height = image.size
        sheet = Image.new("L", image.size)
        sheet.paste(
            image.resize((width * 3 // 5, height * 3 // 5), Image.Resampling.BICUBIC), (width // 5, height // 5)
        )
        image = sheet
    if "thick" in names:
        image = image.filter(ImageFilter.MaxFilter(3))
    cover = np.asarray(image.resize((side, side), Image.Resampling.BICUBIC), np.float64)[:, :, None] / 255
    paper: NDArray[np.float64] = np.full((side, side, 3), 255.0 if "inverted" in names else 0.0)
    ink = np.array([220.0, 40.0, 30.0]) if "red" in names else 255 - paper
    if "striped" in names:
        paper[_stripes(side)] = 128
    drawn: Picture = np.round(paper + cover * (ink - paper)).astype(np.uint8)
    return drawn


def photo(picture: Picture, names: frozenset[str]) -> Picture:
    """A crop of a photograph, H x W x 3, changed by these of the attributes `PHOTO`; its size stays."""
    from PIL import Image, ImageFilter

    image = Image.fromarray(np.ascontiguousarray(picture))
    if "blurred" in names:
        image = image.filter(ImageFilter.GaussianBlur(image.height / 24))
    if "grey" in names:
        image = image.convert("L").convert("RGB")
    changed = np.asarray(image, np.float64) * (0.4 if "dark" in names else 1)
    if "striped" in names:
        changed[_stripes(image.height)] /= 2
    return np.round(255 - changed if "negative" in names else changed).astype(np.uint8)


def _stripes(height: int) -> NDArray[np.bool_]:
    """Which rows a stripe covers."""
    rows: NDArray[np.bool_] = np.arange(height) * 2 * STRIPES // height % 2 == 1
    return rows


def sentences(number: int, names: frozenset[str]) -> tuple[str, ...]:
    """Captions of one digit. Each says in its own order what it is, and all of how it is drawn.

    >>> sentences(7, frozenset({"small", "red"}))[0]
    'a small thin red seven on plain black paper'
    """
    size, stroke = "small" if "small" in names else "large", "thick" if "thick" in names else "thin"
    paper, other = ("white", "black") if "inverted" in names else ("black", "white")
    colour, pattern = "red" if "red" in names else other, "striped" if "striped" in names else "plain"
    return (
        f"a {size} {stroke} {colour} {NUMBERS[number]} on {pattern} {paper} paper",
        f"the digit {NUMBERS[number]} written {size} {stroke} and {colour} on {pattern} {paper} paper",
        f"on {pattern} {paper} paper there is a {size} {stroke} {colour} {NUMBERS[number]}",
    )


@lru_cache(maxsize=4096)
def embedding(sentence: str, size: int) -> NDArray[np.float32]:
    """The sum of the words' numbers over the root of how many words there are: [size], of mean 0 and variance 1.

    >>> bool((embedding("a red seven", 8) == embedding("seven red a", 8)).all())
    True
    """
    words = sentence.split()
    total = np.sum([_word(word, size) for word in words], axis=0) / np.sqrt(len(words))
    found: NDArray[np.float32] = total.astype(np.float32)
    return found


@lru_cache(maxsize=4096)
def _word(word: str, size: int) -> NDArray[np.float64]:
    return np.random.default_rng(zlib.crc32(word.encode())).standard_normal(size)
