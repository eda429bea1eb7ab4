"""What a distilled set is worth."""

from ddjax.evaluate.baselines import BASELINES as BASELINES
from ddjax.evaluate.baselines import Baseline as Baseline
from ddjax.evaluate.baselines import FullScores as FullScores
from ddjax.evaluate.baselines import train_full as train_full
from ddjax.evaluate.protocols import PROTOCOLS as PROTOCOLS
from ddjax.evaluate.protocols import Protocol as Protocol
from ddjax.evaluate.ranking import Ranking as Ranking
from ddjax.evaluate.ranking import dd_ranking as dd_ranking
from ddjax.evaluate.students import Scores as Scores
from ddjax.evaluate.students import evaluate as evaluate
