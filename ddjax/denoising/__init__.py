"""Finding wrong labels: predictors that learn from the given labels, and a judge of their predictions."""

from ddjax.denoising.denoiser import denoise as denoise
from ddjax.denoising.judging import SCORES as SCORES
from ddjax.denoising.judging import Judgement as Judgement
from ddjax.denoising.judging import judge as judge
from ddjax.denoising.registry import PREDICTORS as PREDICTORS
from ddjax.denoising.report import DenoiseReport as DenoiseReport
