"""Expert networks trained on the given labels, and snapshots of their weights during training."""

from ddjax.experts.trajectories import Trajectories as Trajectories
from ddjax.experts.trajectories import size as size
from ddjax.experts.trajectories import trajectories as trajectories
from ddjax.training.published import RECIPES as RECIPES
from ddjax.training.published import pool_recipe as pool_recipe
