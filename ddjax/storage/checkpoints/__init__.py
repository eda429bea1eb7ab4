"""Checkpoints of long computations: save, find, resume."""

from ddjax.storage.checkpoints.run import SECONDS as SECONDS
from ddjax.storage.checkpoints.run import Checkpoints as Checkpoints
from ddjax.storage.checkpoints.run import Saved as Saved
from ddjax.storage.checkpoints.run import checkpoint_scope as checkpoint_scope
from ddjax.storage.checkpoints.run import maybe_checkpoint as maybe_checkpoint
from ddjax.storage.checkpoints.step import Changed as Changed
from ddjax.storage.checkpoints.step import digest as digest
