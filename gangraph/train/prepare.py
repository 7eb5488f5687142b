"""Pictures -> pictures of the sizes that a spec's inputs have, by the steps of `prepare`.

All pictures of one item of a stream pass through together: one coin decides for all whether they are mirrored, and one
place is cut from all. Without a step that sets a size, the shorter side is resized and the centre cut out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from gangraph.errors import RunError
from gangraph.train.drawn import Picture

Step = tuple[str, Sequence[Any], Mapping[str, Any]]  # name, arguments, keyword arguments
Size = tuple[int, int]  # height, width

SIZING = ("resize", "crop", "random_crop")
RANDOM = ("random_crop", "flip")


def is_random(steps: Sequence[Step]) -> bool:
    return any(name in RANDOM for name, _, _ in steps)


def entry_size(steps: Sequence[Step], final: Size) -> int:
    """The side that a square picture needs so that the first sizing step loses nothing of it."""
    sizes = [_size(step) for step in steps if step[0] in SIZING]
    return max(sizes[0] if sizes else final)


def prepare(
    pictures: list[Picture], steps: Sequence[Step], finals: Sequence[Size], rng: np.random.Generator
) -> list[Picture]:
    """Apply the steps, then fit each picture to its final size if no step has set one."""
    sized = False
    for step in steps:
        name = step[0]
        if name == "flip":
            if rng.random() < _probability(step):
                pictures = [p[:, ::-1] for p in pictures]
            continue
        sized = True
        height, width = _size(step)
        if name == "resize":
            pictures = [resize(p, height, width) for p in pictures]
        else:
            pictures = _cropped(pictures, height, width, rng if name == "random_crop" else None)
    return pictures if sized else [fit(p, *final) for p, final in zip(pictures, finals, strict=True)]


def resize(picture: Picture, height: int, width: int) -> Picture:
    """Bicubic, smoothed when it shrinks."""
    if picture.shape[:2] == (height, width):
        return picture
    from PIL import Image

    return np.asarray(Image.fromarray(np.ascontiguousarray(picture)).resize((width, height), Image.Resampling.BICUBIC))


def fit(picture: Picture, height: int, width: int) -> Picture:
    """Resize until the picture just covers height x width, then cut the centre out."""
    h, w = picture.shape[:2]
    scale = max(height / h, width / w)
    picture = resize(picture, max(height, round(h * scale)), max(width, round(w * scale)))
    return _cropped([picture], height, width, None)[0]


def _cropped(pictures: list[Picture], height: int, width: int, rng: np.random.Generator | None) -> list[Picture]:
    h, w = (min(p.shape[axis] for p in pictures) for axis in (0, 1))
    if h < height or w < width:
        raise RunError(
            f"a picture of {h} x {w} is too small for a crop of {height} x {width}: put resize(...) before the crop"
        )
    if rng is None:
        top, left = (h - height) // 2, (w - width) // 2
    else:
        top, left = (int(rng.integers(n + 1)) for n in (h - height, w - width))
    return [p[top : top + height, left : left + width] for p in pictures]


def _size(step: Step) -> Size:
    name, args, kwargs = step
    values = [*args, *(kwargs[k] for k in ("h", "w", "height", "width") if k in kwargs)]
    if len(values) != 2:
        raise RunError(f"prepare: {name} takes a height and a width")
    return int(values[0]), int(values[1])


def _probability(step: Step) -> float:
    _, args, kwargs = step
    return float(args[0] if args else kwargs.get("p", 0.5))
