"""Data sets with stable example ids."""

from ddjax.data.dataset import Dataset as Dataset
from ddjax.data.dataset import select as select
from ddjax.data.dataset import subset as subset
from ddjax.data.load_all import load_all as load_all
from ddjax.data.loading import NAMES as NAMES
from ddjax.data.loading import load as load
from ddjax.data.prepare import Prepared as Prepared
from ddjax.data.prepare import prepare as prepare
from ddjax.data.prepare import to_space as to_space
from ddjax.data.stream import with_noise as with_noise
from ddjax.data.synthetic import synthetic as synthetic
from ddjax.data.tiny_imagenet import published_numbering as published_numbering
from ddjax.data.validate import assemble as assemble
