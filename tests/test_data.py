"""The data sets, and what `fit` makes of them for a spec's streams."""

from __future__ import annotations

from collections.abc import Callable
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from standin import Input, StandIn, image

from gangraph import _paths
from gangraph.compiler import load
from gangraph.errors import RunError
from gangraph.loader import input_type
from gangraph.prepare import steps
from gangraph.train import drawn, sets, train
from gangraph.train.data import Data, fit
from gangraph.train.prepare import fit as cover
from gangraph.train.prepare import prepare
from gangraph.train.sets import Want, open_set

GALLERY = sorted(path.stem for path in _paths.specs().glob("*.yaml"))
LABEL = Input("label", classes=10)
PAIR = {"data": {"a": image(3, 16, 16), "b": image(3, 16, 16)}}
UNPAIRED = {"X": {"x": image(3, 16, 16)}, "Y": {"y": image(3, 16, 16)}}


def picture(path: Path, colour: object = 0, size: tuple[int, int] = (20, 16), mode: str = "RGB") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, size, colour).save(path)  # type: ignore[arg-type]
    return path


def refused(source: object, streams: dict, batch: int = 4, steps: dict | None = None) -> str:
    with pytest.raises(RunError) as error:
        fit(str(source), streams, steps or {}, batch)
    assert "\n" not in str(error.value)
    return str(error.value)


# --- embedded sets ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("source", "count", "classes", "shape"),
    [
        ("digits", 5000, 10, (28, 28)),
        ("digits:attributes", 5000, 10, (28, 28, 3)),
        ("digits:domains", 5000, 2, (28, 28, 3)),
        ("digits8", 1797, 10, (8, 8)),
        ("faces", 200, 0, (25, 25)),
        ("textures", 3000, 3, (64, 64)),
        ("photos", 6000, 6, (64, 64, 3)),
        ("photos:attributes", 6000, 6, (64, 64, 3)),
    ],
)
def test_embedded_pictures(source: str, count: int, classes: int, shape: tuple[int, ...]) -> None:
    found = open_set(source, Want())
    assert (found.count, len(found.classes)) == (count, classes)
    assert found.pictures is not None
    for i in (0, count // 2, count - 1):
        (one,) = found.pictures(i)
        assert one.shape == shape and one.dtype == np.uint8 and one.std() > 0
    if classes:
        assert found.labels is not None and set(found.labels) == set(range(classes))


@pytest.mark.parametrize("channels", [1, 3])
def test_the_attributes_of_digits_are_seen_in_their_pictures(channels: int) -> None:
    """Trees that have learnt 2,000 pictures tell each attribute of 1,000 others."""
    from sklearn.ensemble import RandomForestClassifier

    streams = {"data": {"x": image(channels, 28, 28), "c": Input("vector", (5,), range=(0, 1))}}
    batch = fit("digits:attributes", streams, {}, 3000).batch(0)
    x, c = batch["x"].flatten(1).numpy(), batch["c"].numpy()
    trees = RandomForestClassifier(60, random_state=0).fit(x[:2000], c[:2000])
    assert ((trees.predict(x[2000:]) == c[2000:]).mean(0) > 0.9).all()
    assert (np.abs(c.mean(0) - 0.5) < 0.05).all()


@pytest.mark.parametrize(
    ("source", "names", "draw"),
    [("digits", drawn.DIGIT, lambda p, names: drawn.digit(p, names, 28)), ("photos", drawn.PHOTO, drawn.photo)],
)
def test_each_attribute_changes_a_picture_whatever_the_others_are(
    source: str, names: tuple[str, ...], draw: Callable[[np.ndarray, frozenset[str]], np.ndarray]
) -> None:
    found = open_set(source, Want(size=28))
    assert found.pictures is not None
    plain = [found.pictures(i)[0] for i in range(0, found.count, found.count // 12)]
    for name in names:
        others = [other for other in names if other != name]
        for chosen in (frozenset(c) for r in range(len(names)) for c in combinations(others, r)):
            pairs = [(draw(p, chosen).astype(int), draw(p, chosen | {name}).astype(int)) for p in plain]
            assert np.median([np.abs(a - b).mean() for a, b in pairs]) > 0.3, (name, chosen)


def test_captions_say_what_is_drawn_and_are_several() -> None:
    found = open_set("digits:captions", Want())
    assert found.captions is not None and found.labels is not None and found.attributes is not None
    words = {"thick": ("thick", "thin"), "small": ("small", "large"), "red": ("red", None)}
    words |= {"striped": ("striped", "plain"), "inverted": ("white paper", "black paper")}
    for i in range(0, found.count, 97):
        said = found.captions(i)
        assert len(set(said)) == 3
        assert all(drawn.NUMBERS[found.labels[i]] in sentence.split() for sentence in said)
        for name, (yes, no) in words.items():
            bit = found.attributes[i, found.names.index(name)]
            assert all((f" {yes} " in f" {sentence} ") == bit for sentence in said)
            assert no is None or all((f" {no} " in f" {sentence} ") != bit for sentence in said)


def test_an_embedding_is_of_the_words_and_of_unit_variance() -> None:
    sentence = "a small thin red seven on plain black paper"
    seven, eight = drawn.embedding(sentence, 4096), drawn.embedding(sentence.replace("seven", "eight"), 4096)
    other = drawn.embedding("nothing in common here", 4096)
    assert abs(seven.mean()) < 0.1 and abs(seven.std() - 1) < 0.1
    assert np.corrcoef(seven, eight)[0, 1] > 0.8 and abs(np.corrcoef(seven, other)[0, 1]) < 0.1
    assert seven[:3].tolist() == pytest.approx([0.285535, -0.126073, 0.65031], abs=1e-6)  # the same on every machine


@pytest.mark.parametrize(("variant", "modes"), [("mixture", 8), ("mixture:ring", 8), ("mixture:grid", 25)])
def test_points_of_a_mixture_lie_at_its_modes(variant: str, modes: int) -> None:
    found = open_set(variant, Want())
    assert found.modes is not None and found.points is not None and found.labels is not None
    assert len(found.modes) == modes
    assert np.abs(found.points - found.modes[found.labels]).max() < 0.3


@pytest.mark.parametrize("variant", ["photos", "photos:edges", "photos:grey", "photos:blur"])
def test_photos_are_pairs_for_two_images(variant: str) -> None:
    batch = fit(variant, PAIR, {}, 4).batch(0)
    assert batch["a"].shape == batch["b"].shape == (4, 3, 16, 16)
    assert not torch.equal(batch["a"], batch["b"])


def test_photos_and_textures_are_domains_for_two_streams() -> None:
    for source in ("photos", "textures"):
        data = fit(source, UNPAIRED, {}, 4)
        x, y = data.streams
        assert not set(x.items) & set(y.items)
        assert data.batch(0)["x"].shape == (4, 3, 16, 16)


def test_no_embedded_set_reaches_for_the_network(monkeypatch: pytest.MonkeyPatch) -> None:
    import socket

    def refuse(*args: object, **kwargs: object) -> None:
        raise AssertionError("a download")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    for name in sets.EMBEDDED:
        assert open_set(name, Want()).count


@pytest.mark.parametrize("name", GALLERY)
def test_the_data_of_every_system_of_the_gallery_fit_it_at_full_size(name: str) -> None:
    spec = load(name)
    for graph in {id(g): g for g in (spec.graphs[0], spec.graphs[-1])}.values():
        streams = {
            stream: {member: input_type(graph.inputs[member]) for member in members}
            for stream, members in graph.resolved.streams.items()
        }
        data = fit(spec.train["data"], streams, steps(graph), graph.resolved.batch.now)
        assert data.batches > 0


# --- what a batch is ----------------------------------------------------------------------------------------------


def test_values_are_in_the_range_of_the_input() -> None:
    wide = fit("digits", {"data": {"x": image(1, 28, 28)}}, {}, 64).batch(0)["x"]
    narrow = fit("digits", {"data": {"x": Input("image", (1, 28, 28), range=(0, 1))}}, {}, 64).batch(0)["x"]
    assert (wide.min(), wide.max()) == (-1, 1)
    assert torch.allclose(narrow * 2 - 1, wide, atol=1e-6)
    assert wide.dtype == torch.float32 and wide.is_contiguous()


def test_a_vector_is_the_flattened_picture() -> None:
    flat = fit("digits", {"data": {"x": Input("vector", (784,))}}, {}, 8).batch(3)["x"]
    assert torch.equal(flat, fit("digits", {"data": {"x": image(1, 28, 28)}}, {}, 8).batch(3)["x"].flatten(1))


def test_labels_belong_to_their_pictures() -> None:
    data = fit("digits8", {"data": {"x": image(1, 8, 8), "y": LABEL}}, {}, 32)
    batch, raw = data.batch(5), open_set("digits8", Want())
    assert raw.pictures is not None and raw.labels is not None
    known = {raw.pictures(i)[0].tobytes(): int(raw.labels[i]) for i in range(raw.count)}
    pictures = ((batch["x"] + 1) * 127.5).round().byte().numpy()
    assert [known[p.tobytes()] for p in pictures] == batch["y"].tolist()
    assert batch["y"].dtype == torch.int64


def test_two_images_with_a_label_are_of_one_class() -> None:
    streams = {
        "source": {"x": image(1, 8, 8), "y": LABEL},
        "target": {"r": image(1, 8, 8), "r2": image(1, 8, 8), "t": LABEL},
    }
    batch = fit("digits8", streams, {}, 16).batch(0)
    raw = open_set("digits8", Want())
    assert raw.pictures is not None and raw.labels is not None
    known = {raw.pictures(i)[0].tobytes(): int(raw.labels[i]) for i in range(raw.count)}
    for name in ("r", "r2"):
        pictures = ((batch[name] + 1) * 127.5).round().byte().numpy()
        assert [known[p.tobytes()] for p in pictures] == batch["t"].tolist()
    assert not torch.equal(batch["r"], batch["r2"])


def test_a_vector_of_zeros_and_ones_is_the_attributes_and_any_other_a_sentence() -> None:
    members = {
        "x": image(1, 28, 28),
        "phi": Input("vector", (12,)),
        "c": Input("vector", (3,), range=(0, 1)),
        "signs": Input("vector", (5,), range=(-1, 1)),
        "m": Input("mask", (5,)),
        "k": Input("labels", (5,), classes=2),
        "red": Input("label", classes=2),
        "y": LABEL,
    }
    data = fit("digits:captions", {"data": members}, {}, 64)
    batch = data.batch(3)
    assert torch.equal(batch["m"][:, :3], batch["c"])
    assert torch.equal(batch["m"] * 2 - 1, batch["signs"])
    assert torch.equal(batch["m"].long(), batch["k"]) and batch["k"].dtype == torch.int64
    assert torch.equal(batch["m"][:, 2].long(), batch["red"])
    found = open_set("digits:captions", Want(size=28))
    assert found.captions is not None and found.labels is not None and found.attributes is not None
    known: dict[tuple[int, ...], set[bytes]] = {}
    for i in range(found.count):
        key = (int(found.labels[i]), *map(int, found.attributes[i]))
        known.setdefault(key, set()).update(drawn.embedding(s, 12).tobytes() for s in found.captions(i))
    for y, bits, phi in zip(batch["y"].tolist(), batch["k"].tolist(), batch["phi"], strict=True):
        assert phi.numpy().tobytes() in known[(y, *bits)]
    assert torch.equal(batch["phi"], fit("digits:captions", {"data": members}, {}, 64).batch(3)["phi"])
    said = {data.batch(k * data.batches)["phi"].numpy().tobytes() for k in range(3)}
    assert len(said) == 3


def test_a_vector_beside_a_vector_is_the_picture_where_its_length_says_so() -> None:
    flat = {"x": Input("vector", (784,)), "c": Input("vector", (5,))}
    batch = fit("digits:attributes", {"data": flat}, {}, 8).batch(0)
    shown = fit("digits:attributes", {"data": flat | {"x": image(1, 28, 28)}}, {}, 8).batch(0)
    assert torch.equal(batch["x"], shown["x"].flatten(1)) and torch.equal(batch["c"], shown["c"])
    colour = fit("digits:attributes", {"data": {"x": Input("vector", (2352,))}}, {}, 8).batch(0)
    assert colour["x"].shape == (8, 2352)


def test_files_of_different_sizes_are_no_vectors(tmp_path: Path) -> None:
    picture(tmp_path / "0.png", mode="L", size=(8, 8))
    picture(tmp_path / "1.png", mode="L", size=(9, 8))
    data = fit(str(tmp_path), one(Input("vector", (64,))), {}, 2)
    with pytest.raises(RunError, match=r"item 1 of .* has 72 numbers, and x wants 64"):
        data.batch(0)


def test_drawn_digits_are_as_large_as_a_crop_wants_them() -> None:
    data = fit(
        "digits:attributes",
        {"data": {"x": image(3, 64, 64)}},
        {"data": [("crop", (89, 89), {}), ("resize", (64, 64), {})]},
        4,
    )
    assert data.batch(0)["x"].shape == (4, 3, 64, 64)


def test_digits_are_two_domains() -> None:
    batch = fit("digits:domains", UNPAIRED, {}, 64).batch(0)
    assert batch["x"].median() == -1 and batch["y"].median() == 1
    assert torch.equal(batch["x"][:, 0], batch["x"][:, 2]) and not torch.equal(batch["y"][:, 0], batch["y"][:, 2])


def test_an_epoch_takes_every_item_at_most_once_and_drops_the_short_batch() -> None:
    data = fit("digits8", {"data": {"x": image(1, 8, 8)}}, {}, 64)
    assert data.batches == 1797 // 64
    stream = data.streams[0]
    stream.at(0)
    first = stream._order[1].copy()
    assert sorted(first) == list(range(1797))
    stream.at(data.batches)
    assert not np.array_equal(first, stream._order[1])


def test_a_batch_depends_on_its_number_alone() -> None:
    steps = {"X": [("random_crop", (16, 16), {}), ("flip", (), {"p": 0.5})], "Y": []}
    streams = {"X": {"x": image(3, 16, 16)}, "Y": {"y": image(3, 16, 16)}}
    one, other = (fit("textures", streams, steps, 4, seed=3) for _ in range(2))
    wanted = [one.batch(i) for i in range(6)]
    for i in (5, 0, 3):
        for name in ("x", "y"):
            assert torch.equal(other.batch(i)[name], wanted[i][name])
    assert not torch.equal(fit("textures", streams, steps, 4, seed=4).batch(0)["x"], wanted[0]["x"])


def test_another_stream_does_not_shift_the_order_of_the_first() -> None:
    alone = fit("textures", {"X": {"x": image(3, 16, 16), "k": LABEL}}, {}, 4)
    beside = fit("textures", {"X": {"x": image(3, 16, 16), "k": LABEL}, "Z": {"z": image(3, 16, 16)}}, {}, 4)
    assert torch.equal(alone.batch(2)["x"], beside.batch(2)["x"])


def test_ranks_share_out_the_batches() -> None:
    ranks = [fit("digits8", {"data": {"x": image(1, 8, 8)}}, {}, 8, rank=r, ranks=2) for r in range(2)]
    whole = fit("digits8", {"data": {"x": image(1, 8, 8)}}, {}, 16)
    assert ranks[0].batches == whole.batches
    assert torch.equal(torch.cat([d.batch(7)["x"] for d in ranks]), whole.batch(7)["x"])


def test_an_input_may_have_several_samples() -> None:
    batch = fit("digits8", {"data": {"x": Input("image", (1, 8, 8), times=2)}}, {}, 8).batch(0)
    assert batch["x"].shape == (16, 1, 8, 8)


def test_the_first_items_are_always_the_same_and_repeat_when_there_are_too_few(tmp_path: Path) -> None:
    for i in range(3):
        picture(tmp_path / f"{i}.png", (80 * i, 0, 0))
    data = fit(str(tmp_path), {"data": {"x": image(3, 16, 16)}}, {"data": [("flip", (), {})]}, 2)
    assert data.first(5)["x"].shape[0] == 5
    assert torch.equal(data.first(5)["x"], data.first(5)["x"])


# --- prepare ------------------------------------------------------------------------------------------------------


def ramp(height: int, width: int) -> np.ndarray:
    return (np.arange(height)[:, None] * 3 + np.arange(width)[None]).astype(np.uint8)


def test_one_coin_and_one_place_for_all_members() -> None:
    steps = [("random_crop", (8, 8), {}), ("flip", (), {"p": 0.5})]
    seen = set()
    for seed in range(20):
        a, b = prepare([ramp(12, 12), ramp(12, 12)], steps, [(8, 8)] * 2, np.random.default_rng(seed))
        assert np.array_equal(a, b)
        seen.add(a.tobytes())
    assert len(seen) > 10


def test_steps_in_order() -> None:
    steps = [("resize", (8, 20), {}), ("crop", (8, 10), {}), ("flip", (1.0,), {})]
    (made,) = prepare([ramp(8, 20)], steps, [(8, 10)], np.random.default_rng(0))
    assert np.array_equal(made, ramp(8, 20)[:, 5:15][:, ::-1])


@pytest.mark.parametrize("size", [(10, 30), (30, 10), (16, 16), (100, 17), (3, 5)])
def test_without_steps_the_shorter_side_is_fitted_and_the_centre_cut(size: tuple[int, int]) -> None:
    assert cover(ramp(*size), 16, 16).shape == (16, 16)


# --- folders ------------------------------------------------------------------------------------------------------


def test_a_folder_of_images_is_resized_and_cropped(tmp_path: Path) -> None:
    for i, size in enumerate([(40, 20), (16, 16), (7, 90)]):
        picture(tmp_path / f"{i}.png", (10 * i, 20, 30), size)
    data = fit(str(tmp_path), {"data": {"x": image(3, 16, 16)}}, {}, 3)
    batch = data.take(0, 1)[0]
    assert batch["x"].shape == (3, 3, 16, 16)
    assert sorted(((batch["x"][:, 0, 0, 0] + 1) * 127.5).round().tolist()) == [0, 10, 20]
    data.close()


def test_class_folders_are_labels_in_alphabetical_order(tmp_path: Path) -> None:
    for name, red in (("dog", 200), ("cat", 100)):
        for i in range(3):
            picture(tmp_path / "train" / name / f"{i}.jpg", (red, 0, 0))
    batch = fit(str(tmp_path), {"data": {"x": image(3, 16, 16), "y": LABEL}}, {}, 6).batch(0)
    red = ((batch["x"][:, 0].mean((1, 2)) + 1) * 127.5).round()
    assert torch.equal(batch["y"], (red > 150).long())


def test_side_by_side_images_are_pairs(tmp_path: Path) -> None:
    for i in range(4):
        both = Image.new("RGB", (32, 16), (255, 0, 0))
        both.paste((0, 0, 10 * i), (16, 0, 32, 16))
        both.save(tmp_path / f"{i}.png")
    batch = fit(str(tmp_path), PAIR, {}, 4).batch(0)
    assert (batch["a"][:, 0] == 1).all() and (batch["b"][:, 0] == -1).all()


def test_class_folders_are_no_pairs(tmp_path: Path) -> None:
    for name in ("cats", "dogs"):
        picture(tmp_path / name / "0.png")
    with pytest.raises(RunError, match=r"has classes \(cats, dogs\) and no pairs: a pair is one picture"):
        fit(str(tmp_path), PAIR, {}, 1)


def test_two_train_folders_are_two_domains(tmp_path: Path) -> None:
    for name, count in (("trainA", 5), ("trainB", 9)):
        for i in range(count):
            picture(tmp_path / name / f"{i}.png", (255 * (name == "trainA"), 0, 0))
    data = fit(str(tmp_path), UNPAIRED, {}, 2)
    assert [s.batches for s in data.streams] == [2, 4] and data.batches == 4
    for i in range(9):
        batch = data.batch(i)
        assert (batch["x"][:, 0] == 1).all() and (batch["y"][:, 0] == -1).all()


def test_folders_called_like_the_streams_are_matched_by_name(tmp_path: Path) -> None:
    for name, red in (("Y", 255), ("X", 0), ("A", 100)):
        picture(tmp_path / name / "0.png", (red, 0, 0))
    batch = fit(str(tmp_path), UNPAIRED, {}, 1).batch(0)
    assert (batch["y"][:, 0] == 1).all() and (batch["x"][:, 0] == -1).all()


def test_grey_files_fill_three_channels(tmp_path: Path) -> None:
    picture(tmp_path / "0.png", 51, mode="L")
    batch = fit(str(tmp_path), {"data": {"x": image(3, 16, 16)}}, {}, 1).batch(0)
    assert torch.allclose(batch["x"], torch.tensor(-0.6))


# --- a table beside the images ------------------------------------------------------------------------------------

HAIR = {"x": image(3, 16, 16), "c": Input("vector", (2,), range=(0, 1)), "text": Input("vector", (6,)), "y": LABEL}


def tabled(folder: Path, table: str, *names: str, form: str = "csv") -> Path:
    for i, name in enumerate(names):
        picture(folder / name, (50 * (i + 1), 0, 0))
    folder.mkdir(exist_ok=True)
    (folder / f"metadata.{form}").write_text(table, encoding="utf-8")
    return folder


@pytest.mark.parametrize("form", ["csv", "jsonl"])
def test_a_table_says_class_attributes_and_sentences_of_its_images(tmp_path: Path, form: str) -> None:
    csv = """file_name,Smiling,label,text_1,Male,text_2
b/2.png,1,10,"a man, smiling",True,
1.png,-1,9,a woman,no,a lady
"""
    jsonl = """{"file_name": "b/2.png", "Smiling": 1, "label": 10, "text": ["a man, smiling"], "Male": true}
\n{"Male": 0, "file_name": "1.png", "Smiling": -1, "label": 9, "text": ["a woman", "a lady"]}
"""
    folder = tabled(tmp_path, {"csv": csv, "jsonl": jsonl}[form], "1.png", "b/2.png", "unnamed.png", form=form)
    data = fit(str(folder), {"data": HAIR}, {}, 2)
    assert data.set.names == ("Smiling", "Male") and data.set.classes == ("9", "10") and data.set.count == 2
    texts = set()
    for number in range(8):
        batch = data.batch(number)
        first = batch["x"][:, 0, 0, 0].argmax()  # the second picture, and the first row
        assert batch["c"][first].tolist() == [1, 1] and batch["c"][1 - first].tolist() == [0, 0]
        assert batch["y"][first] == 1 and batch["y"][1 - first] == 0
        assert np.allclose(batch["text"][first], drawn.embedding("a man, smiling", 6))
        texts.add(tuple(batch["text"][1 - first].tolist()))
    assert texts == {tuple(drawn.embedding(text, 6).tolist()) for text in ("a woman", "a lady")}


def test_a_table_may_give_domains_and_stand_in_train(tmp_path: Path) -> None:
    rows = "file_name,label\n2.png,winter\n1.png,summer\n"
    folder = tabled(tmp_path / "train", rows, "1.png", "2.png")
    batch = fit(str(folder.parent), UNPAIRED, {}, 1).batch(0)  # X summer, Y winter
    assert batch["x"][0, 0, 0, 0] < batch["y"][0, 0, 0, 0]


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ("", "metadata.csv has no rows"),
        ("file_name,a\n", "metadata.csv has no rows"),
        ("file,a\n1.png,1\n", "metadata.csv has no column file_name"),
        ("file_name,a,a\n1.png,1,0\n", "metadata.csv has several columns called a"),
        ("file_name,a\n1.png,1\n2.png\n", "metadata.csv, line 3: 1 cells, and the head has 2"),
        ('file_name,a\n1.png,"1\n', "metadata.csv, line 2: unexpected end of data"),
        ("file_name,a\n1.png,0\n3.png,1\n", "metadata.csv, line 3: there is no file "),
        ("file_name,a\n1.png,0\n./1.png,1\n", "metadata.csv, line 3: ./1.png is already in line 2 (several sent"),
        ("file_name,a\n../1.png,0\n", "metadata.csv, line 2: '../1.png' is no file below the folder of the table"),
        ("file_name,a\n/etc/passwd,0\n", "line 2: '/etc/passwd' is no file below the folder of the table"),
        ("file_name,a\n,0\n", "line 2: '' is no file below the folder of the table"),
        ("file_name,age\n1.png,31\n", "metadata.csv, line 2: age is '31', and an attribute is 0 or 1, -1 or 1"),
        ("file_name,label\n1.png,\n", "metadata.csv, line 2: the label is '', and a class is a name or an integer"),
        ("file_name,text\n1.png, \n", "metadata.csv, line 2: no sentence says anything"),
        ("file_name,a\n1.png,\xff\n", "metadata.csv, line 2: a is 'ÿ', and an attribute"),
    ],
)
def test_a_table_that_is_wrong_is_told_by_its_line(tmp_path: Path, table: str, message: str) -> None:
    assert message in refused(tabled(tmp_path, table, "1.png", "2.png"), one(image(3, 16, 16)), 1)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ('{"file_name": "1.png"', "metadata.jsonl, line 1: not JSON (Expecting ',' delimiter)"),
        ("[" * 100_000, "metadata.jsonl, line 1: not JSON (nested too deep)"),
        ("[1]", 'metadata.jsonl, line 1: a row is an object, such as {"file_name": "1.png", "smiling": 1}'),
        ('{"file_name": 3}', "metadata.jsonl, line 1: 3 is no file below"),
        (
            '{"file_name": "1.png"}\n{"file_name": "2.png", "a": 1}',
            "line 2: it has not the columns of the first row (a)",
        ),
        ('{"file_name": "1.png", "label": [1]}', "line 1: the label is [1], and a class is a name or an integer"),
        ('{"file_name": "1.png", "text": ["a", 1]}', "line 1: a sentence is a string"),
        ('{"file_name": "1.png", "a": null}', "line 1: a is None, and an attribute is 0 or 1"),
    ],
)
def test_a_table_of_json_that_is_wrong_is_told_by_its_line(tmp_path: Path, table: str, message: str) -> None:
    assert message in refused(tabled(tmp_path, table, "1.png", "2.png", form="jsonl"), one(image(3, 16, 16)), 1)


def test_two_tables_and_tables_of_other_letters(tmp_path: Path) -> None:
    folder = tabled(tmp_path, "file_name,a\n1.png,1\n", "1.png")
    (folder / "metadata.csv").write_bytes("file_name,a\n1.png,ä".encode("latin-1"))
    assert "metadata.csv is not UTF-8" in refused(folder, one(image(3, 16, 16)), 1)
    tabled(tmp_path, "{}", form="jsonl")
    assert "has metadata.csv and metadata.jsonl" in refused(folder, one(image(3, 16, 16)), 1)


# --- what does not fit --------------------------------------------------------------------------------------------


def one(t: Input) -> dict[str, dict[str, Input]]:
    return {"data": {"x": t}}


@pytest.mark.parametrize(
    ("source", "streams", "message"),
    [
        ("digitz", one(image(1, 28, 28)), "no folder and no data set is called 'digitz' (did you mean 'digits'?)"),
        ("digits8:big", one(image(1, 8, 8)), "no data set is called 'digits8:big' (it has no variants)"),
        ("mixture:cross", one(Input("vector", (2,))), "(its variants are mixture:ring, mixture:grid)"),
        ("digits", one(image(3, 28, 28)), "digits has 1 channel, and x is an image of 3"),
        (
            "digits",
            one(Input("vector", (100,))),
            "an item of digits has 784 numbers (28 x 28), and x is a vector of 100",
        ),
        ("mixture", one(image(1, 28, 28)), "mixture:ring holds points, and x is an image"),
        ("mixture", one(Input("vector", (3,))), "an item of mixture:ring has 2 numbers (2), and x is a vector of 3"),
        ("digits", one(Input("mask", (1, 28, 28))), "x is a mask, which digits does not hold: step on"),
        ("digits", {"data": {"x": image(1, 28, 28), "m": Input("mask", (5,))}}, "digits:attributes has attributes"),
        (
            "digits:attributes",
            {"data": {"x": image(3, 28, 28), "c": Input("vector", (7,))}},
            "digits:attributes has 5 attributes (thick, small, red, striped, inverted), and c is a vector of 7",
        ),
        (
            "digits:captions",
            {"data": {"x": Input("vector", (64,)), "y": LABEL}},
            "an item of digits:captions has 2352 numbers (28 x 28 x 3), and x is a vector of 64",
        ),
        ("digits:captions", {"data": {"x": image(3, 28, 28), "t": Input("tensor", (4, 8))}}, "t is a tensor, which"),
        ("faces", {"data": {"x": image(1, 25, 25), "y": LABEL}}, "faces has no labels, and y is a label"),
        (
            "digits",
            {"data": {"x": image(1, 28, 28), "y": Input("label", classes=3)}},
            "digits has 10 classes, and y is a label of 3",
        ),
        (
            "faces",
            {"data": {"x": image(1, 25, 25), "t": Input("vector", (625,))}},
            "faces holds pictures alone, and t is a",
        ),
        ("faces", UNPAIRED, "faces has no second domain, and the streams X, Y want one each"),
        ("textures", {n: {n: image(1, 8, 8)} for n in "ABCD"}, "textures has only 3 domains"),
        ("faces", PAIR, "a and b are drawn together, and faces holds single images"),
    ],
)
def test_what_does_not_fit_is_one_line(source: str, streams: dict, message: str) -> None:
    assert message in refused(source, streams)


def test_fewer_items_than_a_batch() -> None:
    assert "faces has 200 items, and a batch takes 201" in refused("faces", one(image(1, 25, 25)), batch=201)


def test_images_in_folders_below_are_told_where_they_are_left_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("0.png", "below/1.png", "below/deep/2.png", ".hidden/3.png"):
        picture(tmp_path / "data" / name, size=(8, 8), mode="L", colour=0)
    message = refused(tmp_path / "data", one(image(1, 8, 8)))
    assert "data has 1 item (left out: 2 images in folders below), and a batch takes 4" in message
    options = {"quiet": True, "diagram": lambda spec: None, "iterations": 1, "batch_size": 2}
    picture(tmp_path / "data" / "4.png", size=(8, 8), mode="L", colour=0)
    train(StandIn(), data=tmp_path / "data", out=tmp_path / "run", **options)
    said = f"{tmp_path}/data has 2 images (left out: 2 images in folders below)"
    assert said in capsys.readouterr().err
    for name in ("0.png", "4.png"):
        (tmp_path / "data" / name).unlink()
    assert "data has 1 item (left out: 1 image in folders below)" in refused(tmp_path / "data", one(image(1, 8, 8)))


def test_a_crop_that_is_larger_than_the_picture() -> None:
    data = fit("faces", one(image(1, 32, 32)), {"data": [("crop", (32, 32), {})]}, 4)
    with pytest.raises(RunError, match="25 x 25 is too small for a crop of 32 x 32"):
        data.batch(0)


def test_wide_grey_pictures_keep_their_levels(tmp_path: Path) -> None:
    ramp = np.tile(np.linspace(0, 1, 16), (16, 1))
    for name, pixels in {
        "eight.png": np.round(255 * ramp).astype(np.uint8),
        "sixteen.png": np.round(65535 * ramp).astype(np.uint16),
        "integer.tiff": np.round(65535 * ramp).astype(np.int32),
        "float.tiff": ramp.astype(np.float32),
    }.items():
        (tmp_path / name[:-5]).mkdir()
        Image.fromarray(pixels).save(tmp_path / name[:-5] / name)
        data = fit(str(tmp_path / name[:-5]), one(image(1, 16, 16)), {}, 1)
        assert np.allclose(data.batch(0)["x"][0, 0], 2 * ramp - 1, atol=0.01), name
    Image.fromarray((70_000 * ramp).astype(np.int32)).save(tmp_path / "wide.tiff")
    (tmp_path / "wide").mkdir()
    (tmp_path / "wide.tiff").rename(tmp_path / "wide" / "0.tiff")
    with pytest.raises(RunError, match="has int32 pixels outside 0"):
        fit(str(tmp_path / "wide"), one(image(1, 16, 16)), {}, 1).batch(0)


def broken(path: Path) -> None:
    path.write_bytes(b"\x89PNG\r\n\x1a\n but no more")


def cut(path: Path) -> None:
    whole = picture(path, size=(200, 200)).read_bytes()
    path.write_bytes(whole[: len(whole) // 2])


def test_a_file_that_is_no_image_is_named_before_training(tmp_path: Path) -> None:
    picture(tmp_path / "0.png")
    broken(tmp_path / "1.png")
    assert f"the image {tmp_path}/1.png cannot be read" in refused(tmp_path, one(image(3, 16, 16)), batch=1)


@pytest.mark.parametrize("spoil", [cut, lambda path: path.unlink()])
def test_an_image_that_is_cut_or_gone_is_named_when_it_is_read(tmp_path: Path, spoil: Callable[[Path], None]) -> None:
    picture(tmp_path / "0.png", size=(200, 200))
    Image.effect_noise((200, 200), 90).save(tmp_path / "0.png")
    if spoil is cut:
        whole = (tmp_path / "0.png").read_bytes()
        (tmp_path / "0.png").write_bytes(whole[: len(whole) // 2])
    data = fit(str(tmp_path), one(image(3, 16, 16)), {}, 1)
    if spoil is not cut:
        spoil(tmp_path / "0.png")
    with pytest.raises(RunError, match=r"the image .*0\.png cannot be read"):
        data.batch(0)


def test_folders_that_hold_nothing(tmp_path: Path) -> None:
    assert "holds no images, no class folders" in refused(tmp_path, one(image(3, 16, 16)))
    file = picture(tmp_path / "0.png")
    assert "is a file: --data takes a folder" in refused(file, one(image(3, 16, 16)))


def test_colour_files_do_not_become_grey(tmp_path: Path) -> None:
    picture(tmp_path / "0.png")
    message = refused(tmp_path, one(image(1, 16, 16)), batch=1)
    assert "has 3 channels, and x is an image of 1: save its pictures grey, or make x an image of 3" in message


def test_folders_with_too_many_domains(tmp_path: Path) -> None:
    for name in "PQR":
        picture(tmp_path / name / "0.png")
    assert "has 3 domains, none of them called like a stream" in refused(tmp_path, UNPAIRED, batch=1)


def test_data_of_a_spec_without_inputs() -> None:
    data = fit("digits", {}, {}, 4)
    assert isinstance(data, Data) and data.batch(0) == {} and data.batches == 1
