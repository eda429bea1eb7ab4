"""Label noise in tf.data pipelines, joined by example id."""

import re
from collections.abc import Mapping
from typing import Any

import numpy as np


def with_noise(
    dataset: Any,
    table: np.ndarray | Mapping[Any, int],
    *,
    id: str = "id",
    label: str = "label",
    prefix: str = "train_",
) -> Any:
    """Replace the labels of a `tf.data.Dataset` from a table by example id.

    A label depends only on the id, so this works before or after shuffling, interleaving, batching and prefetching.

    Args:
      dataset: elements are dicts, single or batched, with the features `id` and `label`.
      table: integers [n] indexed by canonical id, or a mapping from the value of `id` to a label. A negative entry
        means that an example has no label.
      id: the name of a feature of integers or strings. With an array, strings are `prefix` + canonical id
        (`train_00042`), so an example of another split is an error and not a wrong label.
      label: the name of the feature to replace; it keeps its dtype.
      prefix: of the strings in `id`.

    Returns:
      The data set with the new labels. An example whose id is not in the table raises
      `tf.errors.InvalidArgumentError` when it is read.

    Raises:
      ValueError: the elements are not dicts with these features.
    """
    import tensorflow as tf

    spec = dataset.element_spec
    if not isinstance(spec, dict) or id not in spec or label not in spec:
        raise ValueError(
            f"with_noise() takes a dataset of dicts with {id!r} and {label!r}; got elements of {spec}. "
            "Load with as_supervised=False, and add noise before dropping the id"
        )
    dtype = spec[id].dtype
    find = _from_mapping(tf, table, dtype) if isinstance(table, Mapping) else _from_array(tf, table, dtype, prefix)

    @tf.autograph.experimental.do_not_convert  # plain operations without control flow
    def replace(example: dict[str, Any]) -> dict[str, Any]:
        noisy = find(example[id])
        message = "with_noise(): an id has no label in the table"
        known = tf.debugging.Assert(tf.reduce_all(noisy >= 0), [message, example[id]])
        with tf.control_dependencies([known]):
            return {**example, label: tf.cast(noisy, spec[label].dtype)}

    return dataset.map(replace, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)


def _from_array(tf: Any, table: np.ndarray, dtype: Any, prefix: str) -> Any:
    table = np.asarray(table)
    if table.ndim != 1 or table.dtype.kind not in "iu":
        raise ValueError(f"with_noise() takes integer labels [n] by canonical id; got {table.dtype}{list(table.shape)}")
    labels = tf.constant(table, tf.int64)

    def find(ids: Any) -> Any:
        if dtype == tf.string:
            # a string without the prefix is not a number, which is an error
            ids = tf.strings.to_number(tf.strings.regex_replace(ids, f"^{re.escape(prefix)}", ""), tf.int64)
        ids = tf.cast(ids, tf.int64)
        inside = (ids >= 0) & (ids < len(table))
        return tf.where(inside, tf.gather(labels, tf.where(inside, ids, 0)), -1)

    return find


def _from_mapping(tf: Any, table: Mapping[Any, int], dtype: Any) -> Any:
    kind = tf.string if dtype == tf.string else tf.int64
    entries = tf.lookup.KeyValueTensorInitializer(list(table), list(table.values()), kind, tf.int64)
    labels = tf.lookup.StaticHashTable(entries, -1)
    return lambda ids: labels.lookup(tf.cast(ids, kind))
