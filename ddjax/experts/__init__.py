"""Expert networks trained on the given labels, and snapshots of their weights during training."""

from ddjax.experts.recipes import RECIPES as RECIPES
from ddjax.experts.recipes import pool_recipe as pool_recipe
from ddjax.experts.trajectories import Trajectories as Trajectories
from ddjax.experts.trajectories import size as size
from ddjax.experts.trajectories import trajectories as trajectories
