"""Checkpoints: how anything that runs for long is kept, found again and gone on with."""

from ddjax.checkpoints.run import SECONDS as SECONDS
from ddjax.checkpoints.run import Checkpoints as Checkpoints
from ddjax.checkpoints.run import Saved as Saved
from ddjax.checkpoints.run import breathe as breathe
from ddjax.checkpoints.run import coming_up_for_air as coming_up_for_air
from ddjax.checkpoints.step import Changed as Changed
from ddjax.checkpoints.step import digest as digest
