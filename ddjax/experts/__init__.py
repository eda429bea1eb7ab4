"""Fleets of expert networks, trained on the labels as given, and what their weights were on the way."""

from ddjax.experts.recipes import RECIPES as RECIPES
from ddjax.experts.recipes import pool_recipe as pool_recipe
from ddjax.experts.trajectories import Trajectories as Trajectories
from ddjax.experts.trajectories import size as size
from ddjax.experts.trajectories import trajectories as trajectories
