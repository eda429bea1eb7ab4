"""Transforms of pixels to the space of a method and back, and of labels to targets."""

from ddjax.preprocess.fitting import fit as fit
from ddjax.preprocess.lookup import check_place as check_place
from ddjax.preprocess.lookup import chosen as chosen
from ddjax.preprocess.lookup import placing as placing
from ddjax.preprocess.lookup import stored as stored
from ddjax.preprocess.specs import SPECS as SPECS
from ddjax.preprocess.specs import Spec as Spec
from ddjax.preprocess.storage import from_arrays as from_arrays
from ddjax.preprocess.storage import save_arrays as save_arrays
from ddjax.preprocess.targets import centered as centered
from ddjax.preprocess.targets import one_hot as one_hot
from ddjax.preprocess.transform import Preprocess as Preprocess
from ddjax.preprocess.transform import apply as apply
from ddjax.preprocess.transform import invert as invert
