"""Training rules for labels that may be wrong, and scores of how suspicious each one is."""

from ddjax.robust.fit import RobustFit as RobustFit
from ddjax.robust.fit import robust_fit as robust_fit
from ddjax.robust.rule import Findings as Findings
from ddjax.robust.rule import Rule as Rule
from ddjax.robust.scores import SCORES as SCORES
from ddjax.robust.table import RULES as RULES
from ddjax.robust.table import make_rule as make_rule
