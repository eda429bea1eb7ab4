"""Image augmentations as pure functions `augment(key, images, op_key=None) -> images`, differentiable in the images."""

from ddjax.augment.cutmix import cutmix as cutmix
from ddjax.augment.one_per_image import rcig_augment as rcig_augment
from ddjax.augment.ops import OPS as OPS
from ddjax.augment.ops import Op as Op
from ddjax.augment.strategies import Augment as Augment
from ddjax.augment.strategies import DiffAug as DiffAug
from ddjax.augment.strategies import crop_flip as crop_flip
from ddjax.augment.strategies import diffaug as diffaug
from ddjax.augment.strategies import dsa as dsa

AUGMENTATIONS = {  # name -> factory without arguments
    "none": lambda: lambda key, images, op_key=None: images,
    "dsa": dsa,
    "dsa_noflip": lambda: dsa("color_crop_cutout_scale_rotate"),
    "dance_pretrain": lambda: diffaug("color_crop", per_sample=True),
    "dance_eval": lambda: diffaug("color_crop_flip_scale_rotate", per_sample=True),
    "dance_eval_noflip": lambda: diffaug("color_crop_scale_rotate", per_sample=True),
    "ncfm": lambda: diffaug("color_crop_cutout_flip_scale_rotate", per_sample=True),
    "ncfm_noflip": lambda: diffaug("color_crop_cutout_scale_rotate", per_sample=True),
    "rcig": rcig_augment,
    "rcig_mnist": lambda: rcig_augment(("crop", "rotate", "translate", "cutout")),
    "crop_flip": crop_flip,
    "crop": lambda: crop_flip(flip=False),
}
