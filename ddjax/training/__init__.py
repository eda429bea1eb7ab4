"""Training: one trainer, for plain training and for the rules of `ddjax.robust`."""

from ddjax.training.batches import Clock as Clock
from ddjax.training.batches import Examples as Examples
from ddjax.training.batches import TrainState as TrainState
from ddjax.training.batches import examples_of as examples_of
from ddjax.training.fit import Fit as Fit
from ddjax.training.fit import Watch as Watch
from ddjax.training.fit import fit as fit
from ddjax.training.losses import LOSSES as LOSSES
from ddjax.training.members import over_devices as over_devices
from ddjax.training.members import over_members as over_members
from ddjax.training.predict import accuracy as accuracy
from ddjax.training.predict import predict as predict
from ddjax.training.predict import stacked_logits as stacked_logits
from ddjax.training.recipe import Recipe as Recipe
from ddjax.training.recipe import drops as drops
from ddjax.training.rule import Findings as Findings
from ddjax.training.rule import Rule as Rule
from ddjax.training.sharpness import Sharpness as Sharpness
from ddjax.training.sharpness import gsam_gradient as gsam_gradient
from ddjax.training.trainer import make_trainer as make_trainer
