"""Mistakes at the public doors, each with words that its error must contain: (words, a function of `doors.Things`).

Those in data sets and labels are in doors_data.py, numbers outside their range in doors_numbers.py.
"""

import dataclasses

from doors_data import FILES, IMAGES, LABELS

replace = dataclasses.replace

NAMES = [
    ("unknown data set 'cifra10'.*Did you mean 'cifar10'", lambda t: t.ddjax.load("cifra10")),
    ("name must be one of .*got ''", lambda t: t.ddjax.load("")),
    ("name must be one of .*got 3", lambda t: t.ddjax.load(3)),
    ("no folder or file ~nouser/a ", lambda t: t.ddjax.load("~nouser/a")),
    ("Did you mean 'symmetric'", lambda t: t.ddjax.NoiseSpec("symetric")),
    ("unknown protocol 'comon'.*Did you mean 'common'", lambda t: t.evaluate(protocol="comon")),
    ("unknown protocol 'x'", lambda t: t.dd_ranking(protocol="x")),
    ("mean 'standardize'", lambda t: t.preprocess.fit("standardise", t.dataset.images)),
    ("Did you mean 'convnet'", lambda t: t.ddjax.build("convnett", (8, 8, 1), 3)),
    ("Did you mean 'width'", lambda t: t.ddjax.build("convnet", (8, 8, 1), 3, widht=4)),
    ("option width.*'mlp' must be hashable, like a tuple", lambda t: t.ddjax.build("mlp", (8, 8, 1), 3, width=[4])),
    ("unknown recipe.loss 'ce'", lambda t: t.ddjax.Recipe(epochs=1, batch=1, rate=0.1, loss="ce")),
    ("unknown method 'dancee'.*'dance'", lambda t: t.denoise(method="dancee")),
    ("unknown score 'x'", lambda t: t.denoise(score="x")),
    ("unknown how 'pmap'", lambda t: t.ddjax.RunOptions(how="pmap")),
]
NUMBERS = [  # with words beyond those of the range
    ("depth 9 does not fit.*side 8", lambda t: t.ddjax.build("convnet", (8, 8, 1), 3, depth=9)),
    (r"image_shape must have 3 entries; got \(8, 8\)", lambda t: t.ddjax.build("convnet", (8, 8), 3)),
    ("a finite number from 0 to 1; got 50.0: .*divide per cent by 100", lambda t: t.dd_ranking(full_accuracy=50.0)),
    ("folds must be a whole number from 2 to 36; got 37", lambda t: t.denoise(method="cleanlab", folds=37)),
]
TYPES = [
    (
        r"dataset must be a Dataset; got uint8\[36, 8, 8, 1\]. ddjax.load",
        lambda t: t.ddjax.prepare(t.dataset.images, t.ddjax.NoiseSpec()),
    ),
    ("noise must be a NoiseSpec; got str", lambda t: t.ddjax.prepare(t.dataset, "symmetric")),
    ("transform must be a Preprocess", lambda t: t.ddjax.to_space(t.data, "standardize")),
    (
        "method must be a Method; got builtin_function_or_method <built-in function print>",
        lambda t: t.ddjax.run_method(print, t.data.train, t.keys[0]),
    ),
    (
        r"key must be one typed key, such as jax.random.key\(0\); got int 0",
        lambda t: t.ddjax.run_method("random", t.data.train, 0),
    ),
    (
        "unknown place of images 'gpu'",
        lambda t: t.ddjax.run_method("random", t.data.train, t.keys[0], images="gpu"),
    ),
    ("mesh must be a Mesh; got int 2", lambda t: t.ddjax.run_method("dm", t.data.train, t.keys[0], mesh=2)),
    (
        "model must be a Model; got str 'mlp'",
        lambda t: t.ddjax.run_method("random", t.data.train, t.keys[0], model="mlp"),
    ),
    (
        "options must be a RunOptions; got dict {}. Pass fields",
        lambda t: t.ddjax.run_method("random", t.data.train, t.keys[0], options={}),
    ),
    ("method 'math:pi' must be a Method; got float .* A Predictor", lambda t: t.denoise(method="math:pi")),
    ("options must be a dict of fields.*got .'rbf'", lambda t: t.denoise(options=["rbf"])),
    ("class_names must be a list of names, by class number; got 'abc'", lambda t: t.denoise(class_names="abc")),
    ("class_names must be a list of names.*got {0: 'a'}", lambda t: t.denoise(class_names={0: "a"})),
    ("train must be a TrainSet; got None", lambda t: t.ddjax.run_method("random", None, t.keys[0])),
    ("checkpoints must be a Checkpoints; got 'folder'", lambda t: t.ddjax.RunOptions(checkpoints="folder")),
    ("distilled must be a DistilledSet; got", lambda t: t.evaluate(t.ready.train)),
    ("uint8 images.*float64", lambda t: t.preprocess.fit("unit", t.dataset.images / 255.0)),
    ("'math:pi' must be a Protocol; it is a float", lambda t: t.evaluate(protocol="math:pi")),
    ("protocol must be a Protocol; got int 3. Name one in", lambda t: t.dd_ranking(protocol=3)),
    ("spec must be a Spec; got int 3. Name one in", lambda t: t.preprocess.fit(3, t.dataset.images)),
    ("unknown network 3; known: convnet", lambda t: t.ddjax.build(3, (8, 8, 1), 3)),
    ("unknown robust rule None; known: ce", lambda t: t.robust.make_rule(None)),
    ("'math:pi' must be a Published; it is a float", lambda t: t.robust.make_rule("math:pi")),
    (
        "baseline must be a Baseline; got str 'B-PLAIN'. ddjax.BASELINES has",
        lambda t: t.ddjax.train_full("B-PLAIN", t.ready.train, t.ready.test, model=t.model),
    ),
    (
        r"keep must be 'all', 'ends' or a sequence of epochs; got \[0.5\]",
        lambda t: t.experts.size(t.model, t.recipe, 1, keep=[0.5]),
    ),
    ("recipe must be a Recipe; got dict", lambda t: t.fit(recipe={"epochs": 1})),
]
PARTS = [  # that do not belong together
    ("cannot be moved to", lambda t: t.ddjax.to_space(t.ready, t.preprocess.fit("unit", t.dataset.images))),
    (
        r"standardises 1 channels; images of shape \[2, 8, 8, 3\]",
        lambda t: t.preprocess.apply(t.transform, t.np.zeros((2, 8, 8, 3), t.np.uint8)),
    ),
    # of a data set
    (
        r"images must be uint8 \[n h w c\]; got float32",
        lambda t: replace(t.dataset, images=t.dataset.images.astype(t.np.float32)),
    ),
    (
        r"labels must lie in 0..2, the numbers of class_names; got 1..3",
        lambda t: replace(t.dataset, labels=t.dataset.labels + 1),
    ),
    ("strictly ascending", lambda t: replace(t.dataset, ids=t.dataset.ids * 0)),
    # of evaluate
    (
        r"labels of kind 'hard' must have shape \[3\]",
        lambda t: t.evaluate(replace(t.distilled, labels=[0, 1, 2])),
    ),
    ("factor must be a whole number, at least 1; got 0", lambda t: t.evaluate(replace(t.distilled, factor=0))),
    (
        r"step_size must be a scalar; got float32\[3\]",
        lambda t: t.evaluate(replace(t.distilled, step_size=t.jnp.ones(3))),
    ),
    ("images contain NaN or infinite values", lambda t: t.evaluate(replace(t.distilled, images=t.nan[:3]))),
    ("distilled has 3, test has 4, train has 3", lambda t: t.evaluate(test=replace(t.data.test, num_classes=4))),
    (
        r"test.images must be images of shape \[n h w c\].*\[0, 8, 8, 1\]",
        lambda t: t.evaluate(test=replace(t.data.test, images=t.data.test.images[:0], labels=t.data.test.labels[:0])),
    ),
    (
        r"test.labels must be 60 class numbers.*\[59\]",
        lambda t: t.evaluate(test=replace(t.data.test, labels=t.data.test.labels[:-1])),
    ),
    (
        r"test.labels must lie in 0..2 for 3 classes; got",
        lambda t: t.evaluate(test=replace(t.data.test, labels=t.data.test.labels + 5)),
    ),
    (
        "test.images holds NaN or infinity in 1 of 60 rows, the first at row 7",
        lambda t: t.evaluate(test=replace(t.ready.test, images=t.ready.test.images.at[7].set(t.np.nan))),
    ),
    (
        r"distilled.images are \[8, 8, 1\] and test.images \[9, 9, 1\]",
        lambda t: t.evaluate(test=replace(t.data.test, images=t.np.zeros((60, 9, 9, 1), t.np.uint8))),
    ),
    ("pass train= in the space 'pixels'", lambda t: t.evaluate(train=None)),
    (
        "audit.ids are not train.ids",
        lambda t: t.evaluate(audit=replace(t.data.audit, ids=t.data.audit.ids[::-1].copy())),
    ),
    (
        "numbers of classes differ: train has 3, audit has 4",
        lambda t: t.evaluate(audit=replace(t.data.audit, num_classes=4)),
    ),
    ("pass train=", lambda t: t.evaluate(train=None, audit=t.data.audit, protocol="rcig")),
    (
        "random holds 2 images, distilled 3",
        lambda t: t.dd_ranking(
            random=replace(t.distilled, images=t.distilled.images[:2], labels=t.distilled.labels[:2])
        ),
    ),
    # of train_full
    ("put both through the", lambda t: t.train_full(t.data.train, t.data.test)),
    (
        "train.labels must lie in 0..2 for 3 classes",
        lambda t: t.train_full(replace(t.ready.train, labels=t.ready.train.labels + 3)),
    ),
    (
        "train.images holds NaN or infinity in 1 of 36 rows, the first at row 0",
        lambda t: t.train_full(replace(t.ready.train, images=t.nan)),
    ),
    (
        "share images that are stored as bytes: move one set by ddjax.to_space",
        lambda t: t.train_full([t.ddjax.to_space(t.data.train, t.transform, "device") for _ in range(2)]),
    ),
    # of fit
    (
        "examples.images holds 36 images and examples.targets 35 rows",
        lambda t: t.fit(examples=t.examples._replace(targets=t.examples.targets[:-1])),
    ),
    (
        r"targets \[n k\].*int32\[36\]. Targets of class numbers come from preprocess.one_hot",
        lambda t: t.fit(examples=t.examples._replace(targets=t.jnp.asarray(t.ready.train.labels))),
    ),
    (
        "examples.images holds NaN or infinity in 1 of 36 rows",
        lambda t: t.fit(examples=t.examples._replace(images=t.nan)),
    ),
    (
        r"at least one.*float32\[0, 8, 8, 1\]",
        lambda t: t.fit(examples=t.Examples(t.examples.images[:0], t.examples.targets[:0])),
    ),
    (r"keys must be typed keys of shape \[s\]", lambda t: t.fit(keys=t.jax.random.key(0))),
    (r"keys must be typed keys of shape \[s\].*uint32\[2\]", lambda t: t.fit(keys=t.jax.random.PRNGKey(0))),
    ("rates must be 1 positive numbers", lambda t: t.fit(rates=t.jnp.ones(3))),
    ("rates must be 1 positive numbers", lambda t: t.fit(rates=-t.jnp.ones(1))),
    (
        r"watch\['a'\] has images or labels for 2 networks, but there are 1 keys",
        lambda t: t.fit(watch={"a": (t.ready.test.images, {"acc": t.jnp.zeros((2, 60), int)})}),
    ),
    (
        r"watch\['a'\] has images or labels for 2 networks, but there are 1 keys",
        lambda t: t.fit(watch={"a": (t.jnp.zeros((2, 5, 8, 8, 1)), {"acc": t.jnp.zeros(5, int)})}),
    ),
    (
        r"watch\['a'\] has images on the host and examples has not",
        lambda t: t.fit(
            watch={"a": (t.ddjax.to_space(t.data.train, t.transform, "host").images, {"acc": t.ready.train.labels})}
        ),
    ),
    (
        "watch names an accuracy 'loss'",
        lambda t: t.fit(watch={"a": (t.ready.test.images, {"loss": t.ready.test.labels})}),
    ),
    ("model must be a Model; got str 'mlp'", lambda t: t.ddjax.fit("mlp", t.recipe, t.examples, t.keys)),
    # of files
    ("no.npz is missing", lambda t: t.ddjax.load_distilled(t.folder / "no")),
    ("report.npz is missing", lambda t: t.ddjax.DenoiseReport.load(t.folder)),
    (
        "images contain NaN",
        lambda t: t.ddjax.save_distilled(replace(t.distilled, images=t.nan[:3]), t.folder / "x"),
    ),
]
DISTILLER = [  # for each distiller, with a function of Things and its name
    (r"ipc=1000.*\{0: \d+, 1: \d+", lambda t, name: t.distiller(name, ipc=1000)),
    (
        r"\[1, 2\]|\{1: 0, 2: 0\}",
        lambda t, name: t.distiller(name, replace(t.ready.train, labels=t.ready.train.labels * 0)),
    ),
    (
        "train.images holds NaN or infinity in 1 of 36 rows",
        lambda t, name: t.distiller(name, replace(t.ready.train, images=t.nan)),
    ),
    ("got raw pixels.*ddjax.to_space", lambda t, name: t.distiller(name, t.data.train)),
]
DISTILLERS = ("random", "herding", "kcenter", "kip", "frepo", "rcig", "dance", "datm", "mtt", "dm")
CASES = {
    "images": IMAGES,
    "image files": FILES,
    "labels": LABELS,
    "names": NAMES,
    "numbers": NUMBERS,
    "types": TYPES,
    "parts": PARTS,
    **{
        name: [(words, lambda t, call=call, name=name: call(t, name)) for words, call in DISTILLER]
        for name in DISTILLERS
    },
}
