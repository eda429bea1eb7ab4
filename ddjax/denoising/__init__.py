"""Finding wrong labels of a training set with students that are trained on distilled images of it."""

from ddjax.denoising.denoiser import denoise as denoise
from ddjax.denoising.judging import SCORES as SCORES
from ddjax.denoising.judging import Judgement as Judgement
from ddjax.denoising.judging import judge as judge
from ddjax.denoising.registry import PREDICTORS as PREDICTORS
from ddjax.denoising.report import DenoiseReport as DenoiseReport
