"""Scores of distilled sets, and of training on the whole noisy set."""

from ddjax.evaluation.baselines import BASELINES as BASELINES
from ddjax.evaluation.baselines import Baseline as Baseline
from ddjax.evaluation.full import FullScores as FullScores
from ddjax.evaluation.full import train_full as train_full
from ddjax.evaluation.membership import Attack as Attack
from ddjax.evaluation.membership import attack as attack
from ddjax.evaluation.protocols import PROTOCOLS as PROTOCOLS
from ddjax.evaluation.protocols import Protocol as Protocol
from ddjax.evaluation.ranking import Ranking as Ranking
from ddjax.evaluation.ranking import dd_ranking as dd_ranking
from ddjax.evaluation.ranking import labelled_by as labelled_by
from ddjax.evaluation.students import Scores as Scores
from ddjax.evaluation.students import evaluate as evaluate
