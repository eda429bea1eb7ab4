"""What the denoiser refuses before any work: flags that nothing reads, and images that cannot be compared."""

import pathlib

import numpy as np
import pytest
from PIL import Image

from ddjax.denoising import prototypes, registry
from ddjax.denoising.keeping import Stages
from ddjax.denoising.predictor import FEATURES, FeatureSet, Plan, Request
from experiments.denoising.reading import Task, read
from experiments.denoising.settings import Settings, check
from experiments.denoising.unread import FLAGS, read_by, refuse_unread
from experiments.display.progress import View

TABLE = pathlib.Path("a.csv")
NOISY = {"compare": True, "noise": "symmetric"}
FORK = "ddjax.distillers.dm:METHOD"


@pytest.fixture(autouse=True)
def with_cleanlab(monkeypatch):
    """--compare is checked as where cleanlab is installed."""
    monkeypatch.setattr("ddjax.denoising.judging.need_cleanlab", lambda: None)


def of(method=None, door="images", **fields):
    files = {"data": "digits"} if door == "images" else {door: TABLE, "labels": TABLE}
    return Settings(**files, method=method, **fields)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (of("ridge", ipc=5), "--ipc 5 has no effect on --method ridge: .* such as dance. Flags .* read: --flip$"),
        (of("plain", epochs=3), "--epochs 3 has no effect on --method plain: .* read: .*--plain-epochs"),
        (of("cleanlab", students=3), "--students 3 has no effect on --method cleanlab: .* such as small_loss, dance"),
        (of("elr", folds=3), "--folds 3 has no effect on --method elr: .* such as cleanlab, cross_validated"),
        (of("dance", plain_epochs=3), "--plain-epochs 3 has no effect on --method dance"),
        (of("plain*3+ridge", students=2), r"--students 2 has no effect on --method plain\*3\+ridge"),
        (of("ridge", ipc=5, **NOISY), "--ipc 5 has no effect on --method ridge, and none on --compare"),
        (of(ipc=5), "--ipc 5 has no effect on --method auto: .* such as dance"),
        (of("knn", FEATURES, ipc=5), "--ipc 5 has no effect on --method knn: .* such as prototypes.* none of these"),
        (of(None, FEATURES, width=8), "--width 8 has no effect where features are judged: leave it out"),
        (of("ridge", FEATURES, flip=False), "--no-flip has no effect where features are judged"),
        (of(None, "pred_probs", protocol="quick"), "--protocol quick has no effect where pred_probs are judged"),
    ],
)
def test_what_nothing_reads_is_refused(settings, words):
    with pytest.raises(ValueError, match=words):
        check(settings)


@pytest.mark.parametrize(
    "settings",
    [
        of("dance", ipc=5, students=2, epochs=3, width=8, depth=2, network="convnet", protocol="quick", flip=False),
        of("herding", plain_epochs=3, folds=2, **NOISY),
        of("ridge", students=2, **NOISY),
        of("elr@folds", folds=3),
        of("plain@(small_loss+ridge)", students=2),
        of("plain*2+dance", ipc=5, plain_epochs=3),
        of("ridge", flip=False, seed=3, score="margin"),
        of(plain_epochs=3),
        of(f"{FORK}*2+ridge", folds=3, plain_epochs=3),
        of(None, FEATURES, ipc=5, folds=3, score="margin"),
        of("ddjax.denoising.prototypes:PREDICTOR", FEATURES, width=8),
        of(None, "pred_probs", seed=3, score="margin", precision=0.9),
    ],
)
def test_what_is_read_is_accepted(settings):
    check(settings)


def test_few_images_for_networks_refuse_their_flags():
    def read_task(count):
        return Task("mine", {}, np.zeros(count, np.int32), None, ("a", "b"))

    refuse_unread(of(plain_epochs=3), read_task(3000))
    refuse_unread(of(flip=False), read_task(2999))
    with pytest.raises(ValueError, match=r"--method auto, which takes ridge\*3 for 2999 images: .* such as ce, "):
        refuse_unread(of(plain_epochs=3), read_task(2999))


def test_predictors_read_no_other_flags_on_features(monkeypatch):
    seen = set()

    class Watched(Plan):
        def __getattribute__(self, name):
            seen.add(name)
            return super().__getattribute__(name)

    monkeypatch.setattr(prototypes, "predict", lambda data, *_, **__: np.zeros((len(data.labels), 2)))
    rng = np.random.default_rng(0)
    data = FeatureSet(rng.standard_normal((12, 3)).astype(np.float32), np.arange(12) % 2, 2)
    alone = [name for name, each in registry.PREDICTORS.items() if FEATURES in each.takes and name != "auto"]
    assert len(alone) == 4
    for name in alone:
        predictor, plan = registry.PREDICTORS[name], Watched(name)
        seen.clear()
        predictor.check(data, plan, ("a", "b"))
        predictor.cost(data, plan)
        predictor.predict(Request(data, plan, Stages(None), {}, registry.choose_predictor))
        assert seen & FLAGS <= read_by(name, FEATURES)


def test_an_array_of_images_is_not_resized(tmp_path):
    np.savez(tmp_path / "a.npz", images=np.zeros((6, 4, 4), np.uint8), labels=np.arange(6) % 2)
    settings = Settings(data=str(tmp_path / "a.npz"), method="ridge", image_size=8)
    with pytest.raises(ValueError, match=r"--image-size 8 resizes image files, and .*a\.npz is an array: leave it out"):
        read(settings, {}, 0.0, View(quiet=True))


@pytest.mark.parametrize(
    ("files", "words"),
    [
        (["cat/1"], r"all images of .*in \(there are 1\) have the class cat: add images of a second class"),
        (["cat/1", "cat/2", "dog/1!"], r"no image of .*in has the classes dog: add images that can be read, or leave"),
    ],
)
def test_a_folder_with_one_readable_class_is_refused_with_a_way_out(tmp_path, files, words):
    for name in files:
        place = tmp_path / "in" / f"{name.strip('!')}.png"
        place.parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (4, 4)).save(place)
        if name.endswith("!"):
            place.write_bytes(b"no picture")
    with pytest.raises(ValueError, match=words):
        read(Settings(data=str(tmp_path / "in"), method="ridge"), {}, 0.0, View(quiet=True))
