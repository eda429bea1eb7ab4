"""Everything that can come in wrong at the public doors, and what must be said of it; run by test_doors.py.

`python doors.py FOLDER` tries each case, in a process without the test suite's own type checks, and prints as JSON
what each raised. The network that it hands in refuses to be run, so an error that arrives was made before any tracing.
"""

import dataclasses
import functools
import json
import pathlib
import struct
import sys
import traceback
import warnings
import zipfile
import zlib

import doors_numbers

CASES = {}  # name -> (function of Things, words that the error must hold, kind)


def case(kind, words):
    """Register a case under its function's name, in words."""

    def register(function):
        CASES[function.__name__.replace("_", " ")] = (function, words, kind)
        return function

    return register


def several(kind, call, **bad):
    """Cases that differ in one argument: name -> (value, words)."""
    for name, (value, words) in bad.items():
        CASES[name.replace("_", " ")] = (functools.partial(call, value=value), words, kind)


class Things:
    """A small data set, its parts and a network that must not be run."""

    def __init__(self, folder):
        import jax
        import jax.numpy as jnp
        import numpy as np

        import ddjax
        from ddjax import experts, noise, preprocess, ranges, robust
        from ddjax.preprocess.specs import Spec
        from ddjax.robust import held_out
        from ddjax.training import Examples, Sharpness

        self.jax, self.jnp, self.np, self.ddjax = jax, jnp, np, ddjax
        self.experts, self.noise, self.preprocess = experts, noise, preprocess
        self.ranges, self.robust, self.held_out = ranges, robust, held_out
        self.Examples, self.Sharpness, self.Spec = Examples, Sharpness, Spec
        self.folder = folder
        self.dataset = ddjax.synthetic(3, 12)
        self.data = ddjax.prepare(self.dataset, ddjax.NoiseSpec("symmetric", rate=0.2))
        self.transform = preprocess.fit("standardize", self.dataset.images)
        self.ready = ddjax.to_space(self.data, self.transform)
        self.recipe = ddjax.Recipe(epochs=1, batch=8, rate=0.01)
        self.keys = jax.random.split(jax.random.key(0), 1)
        labels = preprocess.one_hot(jnp.asarray(self.ready.train.labels), 3)
        self.examples = Examples(self.ready.train.images, labels)
        self.nan = self.ready.train.images.at[0].set(jnp.nan)
        self.distilled = ddjax.DistilledSet(
            images=self.ready.train.images[:3],
            labels=jnp.arange(3),
            num_classes=3,
            space=self.transform.fingerprint,
            preprocess=self.transform,
        )
        self.baseline = dataclasses.replace(ddjax.BASELINES["B-PLAIN"], recipe=self.recipe)

        def run(*arguments):
            raise AssertionError("the network was run")

        self.model = ddjax.types.Model(run, run, run, run)

    def evaluate(self, distilled=None, test=None, **more):
        more = {"model": self.model, "epochs": 1, "students": 1, "train": self.data.train, **more}
        return self.ddjax.evaluate(distilled or self.distilled, test or self.data.test, **more)

    def train_full(self, train=None, test=None, **more):
        train, test = train or self.ready.train, test or self.ready.test
        return self.ddjax.train_full(self.baseline, train, test, model=self.model, **{"holdout": 0.0, **more})

    def prepare(self, method, train=None, **fields):
        method, train = self.ddjax.DISTILLERS[method], train or self.ready.train
        return method.prepare(method.config(**fields), train, self.model, self.jax.random.key(0))

    def trajectories(self, **more):
        more = {"experts": 1, "folder": self.folder / "experts", **more}
        return self.experts.trajectories(self.model, self.recipe, self.ready.train, **more)

    def npz(self, **changes):
        n = self.np.arange(40)
        arrays = {"images": self.np.zeros((40, 5, 5, 3), self.np.uint8), "labels": n % 4, **changes}
        self.np.savez(self.folder / "a.npz", **arrays)
        return self.ddjax.load(self.folder / "a.npz", cache_dir=self.folder / "cache")

    def pictures(self, spoil, count=3):
        """A folder of two classes, one of whose files is spoilt."""
        from PIL import Image

        root = self.folder / "pictures"
        for c in ("cat", "dog"):
            (root / c).mkdir(parents=True, exist_ok=True)
            for i in range(count):
                Image.new("RGB", (6, 6), (i, 2, 3)).save(root / c / f"{i}.png")
        spoil(root / "cat" / "0.png")
        return self.ddjax.load(root, cache_dir=self.folder / "cache")


# images, in arrays and in files
@case("images", "NaN or infinity in 1 images, the first at row 3")
def images_that_hold_nan(t):
    images = t.np.zeros((40, 5, 5, 3), t.np.float32)
    images[3, 0, 0, 0] = t.np.nan
    t.npz(images=images, test_images=images[:4] * 0, test_labels=t.np.arange(4))


several(
    "images",
    lambda t, value: t.npz(images=value(t.np)),
    images_with_channels_first=(
        lambda np: np.zeros((40, 3, 5, 5), np.uint8),
        "channels first; ddjax is channels last",
    ),
    images_outside_the_range_of_pixels=(lambda np: np.full((40, 5, 5, 3), 300), r"300; pixels must lie in \[0, 255\]"),
    images_that_are_complex=(lambda np: np.zeros((40, 5, 5, 3), complex), "must hold uint8 pixels.*complex128"),
    images_that_are_flat=(lambda np: np.zeros((40, 75), np.uint8), r"must have shape \[n h w c\].*75\]"),
    images_that_are_none=(lambda np: np.zeros((0, 5, 5, 3), np.uint8), "labels has shape"),
    images_with_two_channels=(lambda np: np.zeros((40, 5, 5, 2), np.uint8), r"1 \(grey\) or 3 \(RGB\)"),
)


def png_of_size(path, width, height):
    """A PNG whose header promises an image of this size."""

    def chunk(name, data):
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")
    )


def linked(path, target):
    path.unlink()
    path.symlink_to(target)


def another(path, size, mode="RGB"):
    from PIL import Image

    Image.new(mode, size).save(path)


several(
    "image files",
    lambda t, value: t.pictures(value),
    an_image_cut_off=(lambda p: p.write_bytes(p.read_bytes()[:40]), "cannot be read.*cat/0.png"),
    an_image_of_no_bytes=(lambda p: p.write_bytes(b""), "cannot be read.*cat/0.png: not an image"),
    a_text_called_png=(lambda p: p.write_text("hello"), "cannot be read.*cat/0.png: not an image"),
    an_image_as_huge_as_a_bomb=(lambda p: png_of_size(p, 60_000, 60_000), "cat/0.png: DecompressionBomb"),
    an_image_of_another_size=(lambda p: another(p, (9, 7)), r"images differ in size.*image_size=32"),
    a_link_to_nowhere=(lambda p: linked(p, p.parent / "gone.png"), "cat/0.png: FileNotFoundError"),
    a_link_to_itself=(lambda p: linked(p, p), "cat/0.png"),
)


# labels, in arrays and in files
several(
    "labels",
    lambda t, value: t.npz(**value(t.np)),
    labels_that_are_floats=(
        lambda np: {"labels": np.arange(40) % 4 + 0.5},
        "must hold integers from 0.*float64",
    ),
    labels_that_are_nan=(lambda np: {"labels": np.full(40, np.nan)}, "must hold integers.*float64"),
    labels_below_zero=(lambda np: {"labels": np.arange(40) % 4 - 1}, "holds -1, first at row 0; classes count from 0"),
    labels_beyond_the_names=(
        lambda np: {"labels": np.arange(40) % 4, "class_names": np.array(["a", "b", "c"])},
        "holds class 3, first at row 5, but there are 3 classes",
    ),
    labels_that_leave_a_class_out=(
        lambda np: {"labels": np.arange(40) % 2 * 2},
        r"no training example for 1 of 3 classes \('1'\)",
    ),
    labels_that_are_too_few=(lambda np: {"labels": np.arange(39) % 4}, r"labels has shape \(39,\) beside images"),
    labels_as_one_hot_rows=(
        lambda np: {"labels": np.eye(4)[np.arange(40) % 4]},
        "class numbers are expected",
    ),
    labels_that_are_words=(lambda np: {"labels": np.array(["a", "b"] * 20)}, "must hold integers.*<U1"),
    ids_that_repeat=(lambda np: {"ids": np.zeros(40, int)}, r"duplicate ids: \[0\]"),
    an_npz_with_a_pickle=(lambda np: {"labels": np.array([{}] * 40, object)}, "pickled objects are refused"),
)


@case("labels", r"a.csv, line 3: label is empty")
def a_csv_with_an_empty_label(t):
    (t.folder / "a.csv").write_text("path,label\nx.png,1\ny.png,\n")
    t.ddjax.load(t.folder / "a.csv")


@case("labels", "files that do not exist, such as .*passwd")
def a_csv_that_leads_out_of_its_folder(t):
    (t.folder / "b.csv").write_text("path,label\n../nothing/passwd,1\n")
    t.ddjax.load(t.folder / "b.csv")


@case("images", "not a readable .npz")
def an_npz_whose_member_leads_out_of_its_folder(t):
    with zipfile.ZipFile(t.folder / "c.npz", "w") as archive:
        archive.writestr("../../evil.npy", b"\x93NUMPY")
    try:
        t.ddjax.load(t.folder / "c.npz", cache_dir=t.folder / "cache")
    finally:
        assert not list(t.folder.parent.glob("**/evil.npy"))


several(
    "images",
    lambda t, value: ((t.folder / "d.npz").write_bytes(value), t.ddjax.load(t.folder / "d.npz")),
    an_npz_of_no_bytes=(b"", "not a readable .npz"),
    an_npz_that_is_text=(b"hello", "not a readable .npz"),
    an_npz_cut_off=(b"PK\x03\x04" + b"\0" * 30, "not a readable .npz"),
)

# names and numbers
several(
    "names",
    lambda t, value: value(t),
    a_data_set_nobody_knows=(lambda t: t.ddjax.load("cifra10"), "unknown data set 'cifra10'.*Did you mean 'cifar10'"),
    a_data_set_without_a_name=(lambda t: t.ddjax.load(""), "name must be one of .*got ''"),
    a_number_for_a_data_set=(lambda t: t.ddjax.load(3), "name must be one of .*got 3"),
    a_noise_nobody_knows=(lambda t: t.ddjax.NoiseSpec("symetric"), "Did you mean 'symmetric'"),
    a_protocol_nobody_knows=(lambda t: t.evaluate(protocol="comon"), "unknown protocol 'comon'.*Did you mean 'common'"),
    a_protocol_nobody_knows_in_a_ranking=(
        lambda t: t.ddjax.dd_ranking(t.distilled, t.distilled, 0.5, t.data.test, train=t.data.train, protocol="x"),
        "unknown protocol 'x'",
    ),
    a_preprocessing_nobody_knows=(
        lambda t: t.preprocess.fit("standardise", t.dataset.images),
        "mean 'standardize'",
    ),
    a_network_nobody_knows=(lambda t: t.ddjax.build("convnett", (8, 8, 1), 3), "Did you mean 'convnet'"),
    an_option_nobody_knows=(lambda t: t.ddjax.build("convnet", (8, 8, 1), 3, widht=4), "Did you mean 'width'"),
    a_loss_nobody_knows=(lambda t: t.ddjax.Recipe(epochs=1, batch=1, rate=0.1, loss="ce"), "unknown loss 'ce'"),
    a_method_nobody_knows=(
        lambda t: t.ddjax.denoise(t.dataset.images, t.dataset.labels, method="dancee"),
        "unknown method 'dancee'.*'dance'",
    ),
    a_score_nobody_knows=(
        lambda t: t.ddjax.denoise(t.dataset.images, t.dataset.labels, score="x"),
        "unknown score 'x'",
    ),
    a_way_nobody_knows=(lambda t: t.ddjax.RunOptions(how="pmap"), "unknown how 'pmap'"),
)
several(
    "numbers",
    lambda t, value: value(t),
    a_network_too_deep=(lambda t: t.ddjax.build("convnet", (8, 8, 1), 3, depth=9), "depth 9 does not fit.*side 8"),
    a_network_for_flat_images=(
        lambda t: t.ddjax.build("convnet", (8, 8), 3),
        r"image_shape must have 3 entries; got \(8, 8\)",
    ),
    a_full_accuracy_in_per_cent=(
        lambda t: t.ddjax.dd_ranking(t.distilled, t.distilled, 50.0, t.data.test, train=t.data.train),
        "full_accuracy must be a finite number from 0 to 1; got 50.0: .*divide per cent by 100",
    ),
    more_folds_than_images=(
        lambda t: t.ddjax.denoise(t.dataset.images, t.dataset.labels, method="cleanlab", folds=37),
        "folds must be a whole number from 2 to 36; got 37",
    ),
)
several(
    "labels",
    lambda t, value: t.ddjax.denoise(t.dataset.images, **value(t)),
    labels_of_several_kinds=(
        lambda t: {"labels": [1, "a", None, 2.0] * 9},
        "must be class numbers from 0, or names; got None at index 2",
    ),
    labels_that_mix_names_and_numbers=(
        lambda t: {"labels": [1, "a"] * 18},
        "all class numbers or all names; got 1 at index 0 and 'a' at index 1",
    ),
    labels_that_are_floats_in_a_list=(lambda t: {"labels": [0.0, 1.0, 2.0] * 12}, "must hold integers.*float64"),
    labels_that_are_booleans=(lambda t: {"labels": [True, False] * 18}, "must hold integers.*bool"),
    labels_with_a_missing_name=(lambda t: {"labels": ["a", float("nan"), "b"] * 12}, "'nan' at index 1|nan at index 1"),
    labels_without_end=(lambda t: {"labels": [0, 10**12] * 18}, "hold.* 1000000000000"),
    class_names_that_repeat=(
        lambda t: {"labels": t.dataset.labels, "class_names": ["a", "b", "a"]},
        r"class_names must differ from each other; \['a'\] come more than once",
    ),
)
# parts that do not belong together
several(
    "parts",
    lambda t, value: value(t),
    an_array_for_a_data_set=(
        lambda t: t.ddjax.prepare(t.dataset.images, t.ddjax.NoiseSpec()),
        r"dataset must be a Dataset; got uint8\[36, 8, 8, 1\]. ddjax.load",
    ),
    a_word_for_a_noise=(
        lambda t: t.ddjax.prepare(t.dataset, "symmetric"),
        "noise must be a NoiseSpec; got str",
    ),
    a_word_for_a_transform=(
        lambda t: t.ddjax.to_space(t.data, "standardize"),
        "transform must be a Preprocess",
    ),
    a_function_for_a_method=(
        lambda t: t.ddjax.run_method(print, t.data.train, t.keys[0]),
        "method must be a Method; got builtin_function_or_method <built-in function print>",
    ),
    a_seed_for_a_key=(
        lambda t: t.ddjax.run_method("random", t.data.train, 0),
        r"key must be one typed key, such as jax.random.key\(0\); got int 0",
    ),
    no_training_set=(lambda t: t.ddjax.run_method("random", None, t.keys[0]), "train must be a TrainSet; got None"),
    a_folder_for_checkpoints=(
        lambda t: t.ddjax.RunOptions(checkpoints="folder"),
        "checkpoints must be a Checkpoints; got 'folder'",
    ),
    a_space_entered_from_another=(
        lambda t: t.ddjax.to_space(t.ready, t.preprocess.fit("unit", t.dataset.images)),
        "cannot be moved to",
    ),
    floats_for_a_transform=(lambda t: t.preprocess.fit("unit", t.dataset.images / 255.0), "uint8 images.*float64"),
    images_a_transform_does_not_know=(
        lambda t: t.preprocess.apply(t.transform, t.np.zeros((2, 8, 8, 3), t.np.uint8)),
        r"standardises 1 channels; images of shape \[2, 8, 8, 3\]",
    ),
    a_data_set_of_floats=(
        lambda t: dataclasses.replace(t.dataset, images=t.dataset.images.astype(t.np.float32)),
        r"images must be uint8 \[n h w c\]; got float32",
    ),
    a_data_set_whose_labels_have_no_name=(
        lambda t: dataclasses.replace(t.dataset, labels=t.dataset.labels + 1),
        r"labels must lie in 0..2, the numbers of class_names; got 1..3",
    ),
    a_data_set_that_repeats_ids=(lambda t: dataclasses.replace(t.dataset, ids=t.dataset.ids * 0), "strictly ascending"),
    a_training_set_for_a_distilled_one=(lambda t: t.evaluate(t.ready.train), "distilled must be a DistilledSet; got"),
    a_distilled_set_with_nan=(
        lambda t: t.evaluate(dataclasses.replace(t.distilled, images=t.nan[:3])),
        "images contain NaN or infinite values",
    ),
    a_test_set_of_more_classes=(
        lambda t: t.evaluate(test=dataclasses.replace(t.data.test, num_classes=4)),
        "distilled has 3, test has 4, train has 3",
    ),
    a_test_set_that_is_empty=(
        lambda t: t.evaluate(
            test=dataclasses.replace(t.data.test, images=t.data.test.images[:0], labels=t.data.test.labels[:0])
        ),
        r"test.images must be images of shape \[n h w c\].*\[0, 8, 8, 1\]",
    ),
    a_test_set_that_lacks_a_label=(
        lambda t: t.evaluate(test=dataclasses.replace(t.data.test, labels=t.data.test.labels[:-1])),
        r"test.labels must be 60 class numbers.*\[59\]",
    ),
    a_test_set_with_labels_from_elsewhere=(
        lambda t: t.evaluate(test=dataclasses.replace(t.data.test, labels=t.data.test.labels + 5)),
        r"test.labels must lie in 0..2 for 3 classes; got",
    ),
    a_test_set_with_nan=(
        lambda t: t.evaluate(
            test=dataclasses.replace(t.ready.test, images=t.ready.test.images.at[7].set(t.np.nan)),
        ),
        "test.images holds NaN or infinity in 1 of 60 rows, the first at row 7",
    ),
    a_test_set_of_another_size=(
        lambda t: t.evaluate(
            test=dataclasses.replace(t.data.test, images=t.np.zeros((60, 9, 9, 1), t.np.uint8)),
        ),
        r"distilled.images are \[8, 8, 1\] and test.images \[9, 9, 1\]",
    ),
    a_protocol_that_needs_training_images=(
        lambda t: t.evaluate(train=None),
        "pass train= in the space 'pixels'",
    ),
    an_audit_of_other_examples=(
        lambda t: t.evaluate(audit=dataclasses.replace(t.data.audit, ids=t.data.audit.ids[::-1].copy())),
        "audit.ids are not train.ids",
    ),
    an_audit_without_a_training_set=(
        lambda t: t.evaluate(train=None, audit=t.data.audit, protocol="rcig"),
        "pass train=",
    ),
    pixels_where_floats_belong=(
        lambda t: t.train_full(t.data.train, t.data.test),
        "put both through the",
    ),
    training_labels_from_elsewhere=(
        lambda t: t.train_full(dataclasses.replace(t.ready.train, labels=t.ready.train.labels + 3)),
        "train.labels must lie in 0..2 for 3 classes",
    ),
    training_images_with_nan=(
        lambda t: t.train_full(dataclasses.replace(t.ready.train, images=t.nan)),
        "train.images holds NaN or infinity in 1 of 36 rows, the first at row 0",
    ),
    sets_of_two_sizes_in_a_ranking=(
        lambda t: t.ddjax.dd_ranking(
            t.distilled,
            dataclasses.replace(t.distilled, images=t.distilled.images[:2], labels=t.distilled.labels[:2]),
            0.5,
            t.data.test,
            train=t.data.train,
        ),
        "random holds 2 images, distilled 3",
    ),
    labels_that_do_not_pair_with_images=(
        lambda t: t.ddjax.denoise(t.dataset.images, t.dataset.labels[:-1]),
        r"labels must be \[n\], one for each image; got \(35,\)",
    ),
    labels_of_one_class=(lambda t: t.ddjax.denoise(t.dataset.images, t.dataset.labels * 0), "two classes or more"),
    a_distilled_file_that_is_not_there=(lambda t: t.ddjax.load_distilled(t.folder / "no"), "no.npz is missing"),
    a_report_that_is_not_there=(lambda t: t.ddjax.DenoiseReport.load(t.folder), "report.npz is missing"),
    a_set_with_nan_to_save=(
        lambda t: t.ddjax.save_distilled(dataclasses.replace(t.distilled, images=t.nan[:3]), t.folder / "x"),
        "images contain NaN",
    ),
)
several(
    "training",
    lambda t, value: t.ddjax.fit(t.model, **{"recipe": t.recipe, "examples": t.examples, "keys": t.keys, **value(t)}),
    targets_that_are_too_few=(
        lambda t: {"examples": t.Examples(t.examples.images, t.examples.targets[:-1])},
        "examples.images holds 36 images and examples.targets 35 rows",
    ),
    targets_that_are_class_numbers=(
        lambda t: {"examples": t.Examples(t.examples.images, t.jnp.asarray(t.ready.train.labels))},
        r"targets \[n k\].*int32\[36\]. Targets of class numbers come from preprocess.one_hot",
    ),
    examples_with_nan=(
        lambda t: {"examples": t.Examples(t.nan, t.examples.targets)},
        "examples.images holds NaN or infinity in 1 of 36 rows",
    ),
    no_examples=(
        lambda t: {"examples": t.Examples(t.examples.images[:0], t.examples.targets[:0])},
        r"at least one.*float32\[0, 8, 8, 1\]",
    ),
    one_key_without_a_row=(lambda t: {"keys": t.jax.random.key(0)}, r"keys must be typed keys of shape \[s\]"),
    a_raw_key=(lambda t: {"keys": t.jax.random.PRNGKey(0)}, r"keys must be typed keys of shape \[s\].*uint32\[2\]"),
    rates_for_other_networks=(lambda t: {"rates": t.jnp.ones(3)}, "rates must be 1 positive numbers"),
    a_rate_for_a_network_below_zero=(lambda t: {"rates": -t.jnp.ones(1)}, "rates must be 1 positive numbers"),
    a_dictionary_for_a_recipe=(lambda t: {"recipe": {"epochs": 1}}, "recipe must be a Recipe; got dict"),
)
# every distiller
SMALL = ("random", "herding", "kcenter", "kip", "frepo", "rcig", "dance", "datm", "mtt", "dm")
for _name in SMALL:

    def _alone(t, value, name=_name):
        return t.prepare(name, **value(t))

    several(
        "distillers",
        _alone,
        **{
            f"{_name} with no images per class": (
                lambda t: {"ipc": 0},
                "ipc must be a whole number, at least 1; got 0",
            ),
            f"{_name} with more images than a class has": (
                lambda t: {"ipc": 1000},
                r"ipc=1000.*\{0: \d+, 1: \d+",
            ),
            f"{_name} without a class": (
                lambda t: {"ipc": 1, "train": dataclasses.replace(t.ready.train, labels=t.ready.train.labels * 0)},
                r"\[1, 2\]|\{1: 0, 2: 0\}",
            ),
            f"{_name} on images with nan": (
                lambda t: {"ipc": 1, "train": dataclasses.replace(t.ready.train, images=t.nan)},
                "train.images holds NaN or infinity in 1 of 36 rows",
            ),
            f"{_name} on pixels": (lambda t: {"ipc": 1, "train": t.data.train}, "got raw pixels.*ddjax.to_space"),
        },
    )


def said(function, *arguments):
    """What a call raised: [the error's class, its words, the module that raised it]."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            function(*arguments)
        return ["nothing", "", ""]
    except BaseException as error:
        frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
        return [type(error).__name__, str(error), frames[-1].f_globals.get("__name__", "")]


def main(folder):
    """Try every case and every number; print what each raised, and what was forgotten."""
    import os

    os.environ.setdefault("JAX_PLATFORMS", "cpu")
    things = Things(pathlib.Path(folder))
    cases = {name: said(function, things) for name, (function, _, _) in CASES.items()}
    numbers = [
        [door, argument, repr(value), *said(call)] for door, argument, value, call in doors_numbers.tried(things)
    ]
    print(json.dumps({"cases": cases, "numbers": numbers, "forgotten": doors_numbers.forgotten(things)}))


if __name__ == "__main__":
    main(sys.argv[1])
