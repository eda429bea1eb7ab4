"""Bilevel problems: inner minima, and their derivatives in the data of the inner problem."""

from ddjax.bilevel.descent import Descent as Descent
from ddjax.bilevel.descent import adam_at as adam_at
from ddjax.bilevel.descent import descend as descend
from ddjax.bilevel.implicit import Adjoint as Adjoint
from ddjax.bilevel.implicit import Inner as Inner
from ddjax.bilevel.implicit import Minimum as Minimum
from ddjax.bilevel.implicit import Pulled as Pulled
from ddjax.bilevel.implicit import implicit as implicit
from ddjax.bilevel.implicit import of_objective as of_objective
from ddjax.bilevel.implicit import unrolled as unrolled
from ddjax.bilevel.linear import IdentityPlusGram as IdentityPlusGram
from ddjax.bilevel.linear import Solution as Solution
from ddjax.bilevel.linear import Solve as Solve
from ddjax.bilevel.linear import adam as adam
from ddjax.bilevel.linear import conjugate_gradient as conjugate_gradient
from ddjax.bilevel.linear import dual_matrix as dual_matrix
from ddjax.bilevel.linear import woodbury as woodbury
