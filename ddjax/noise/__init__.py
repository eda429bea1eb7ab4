"""Label noise: transition matrices, samplers, human and instance-dependent labels, long tails."""

from ddjax.noise.apply import Noisy as Noisy
from ddjax.noise.apply import apply as apply
from ddjax.noise.corrupt import corrupt as corrupt
from ddjax.noise.human import clean_labels as clean_labels
from ddjax.noise.human import human_labels as human_labels
from ddjax.noise.imbalance import long_tail as long_tail
from ddjax.noise.instance import part_dependent as part_dependent
from ddjax.noise.instance import pmd as pmd
from ddjax.noise.labels import checksum as checksum
from ddjax.noise.orders import tfds_order as tfds_order
from ddjax.noise.spec import KINDS as KINDS
from ddjax.noise.spec import Annotator as Annotator
from ddjax.noise.spec import NoiseSpec as NoiseSpec
from ddjax.noise.spec import Truth as Truth
from ddjax.noise.transition import estimate as estimate
from ddjax.noise.transition import matrix as matrix
