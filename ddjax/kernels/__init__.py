"""Kernels of networks, finite and infinitely wide, and kernel ridge regression."""

from ddjax.kernels.gram import blocked as blocked
from ddjax.kernels.gram import gram as gram
from ddjax.kernels.gram import matmul_highest as matmul_highest
from ddjax.kernels.ridge import factor as factor
from ddjax.kernels.ridge import relative as relative
from ddjax.kernels.ridge import ridge_predict as ridge_predict
from ddjax.kernels.ridge import solve as solve
