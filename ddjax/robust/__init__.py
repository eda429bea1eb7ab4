"""Training rules for labels that may be wrong, and scores of how suspicious each label is."""

from ddjax.robust.scores import SCORES as SCORES
from ddjax.robust.table import RULES as RULES
from ddjax.robust.table import make_rule as make_rule
