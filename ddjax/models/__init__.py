"""Networks as records of pure functions."""

from ddjax.models.from_linen import from_linen as from_linen
from ddjax.models.from_linen import merge_stats as merge_stats
from ddjax.models.from_linen import split_stats as split_stats
from ddjax.models.registry import NETWORKS as NETWORKS
from ddjax.models.registry import build as build
from ddjax.models.sizes import build_sized as build_sized
from ddjax.models.specification import program as program
from ddjax.models.specification import specification as specification
