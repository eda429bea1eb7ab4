"""The claims of the study: statements, descriptions of the tests, and the functions that judge them."""

from experiments.reporting import claims_cost as cost
from experiments.reporting import claims_other as other
from experiments.reporting import claims_privacy as privacy
from experiments.reporting import claims_rates as rates
from experiments.reporting.claims import Claim

CLAIMS: tuple[Claim, ...] = (
    Claim(
        "C1",
        "Small sets beat all images at high noise",
        "Above a critical rate of symmetric noise, a small distilled set beats training on the whole set.",
        "At 10 and 50 images per class, the advantage is above zero at the largest measured rate up to 0.6 and at "
        "every larger rate of the grid. It fails if one advantage at 0.6 or 0.8 is below zero.",
        "a distiller and the whole set with symmetric noise, three seeds each",
        rates.beyond_a_critical_rate,
    ),
    Claim(
        "C2",
        "The advantage grows with noise",
        "The advantage over training on the whole set grows with the rate of symmetric noise.",
        "The slope of the least-squares line through the advantages over the rates is above zero.",
        "a distiller and the whole set at two symmetric rates",
        rates.grows_with_rate,
    ),
    Claim(
        "C3",
        "Structured noise is absorbed",
        "Distilled sets reproduce asymmetric noise, so their advantage is smaller than with symmetric noise.",
        "Models of distilled sets predict the target class of the noise for its source class at most 2 points less "
        "often than full models. At equal nominal rates, the advantage is larger with symmetric noise.",
        "a distiller and the whole set with symmetric and with asymmetric noise",
        rates.structure_is_absorbed,
    ),
    Claim(
        "C4",
        "No gain on CIFAR-100 with asymmetric noise",
        "On CIFAR-100 with asymmetric noise at high rates, distilled sets are worse than training on the whole set.",
        "At every measured rate above 0.4 the advantage is below zero.",
        "cifar100 with asymmetric noise at 0.6 or 0.8",
        rates.limited_on_cifar100,
    ),
    Claim(
        "C5",
        "Human labels: gain only with many errors",
        "With human labels, distilled sets are better if there are many errors, and worse if there are few.",
        "The advantage is above zero for worst and noisy100, and below zero for aggre.",
        "the human labels worst, aggre or noisy100",
        rates.human_labels,
    ),
    Claim(
        "C6",
        "A tenth of the images is enough",
        "A distilled set of at most a tenth of the images beats training on the whole set.",
        "At symmetric rate 0.6, at least one set of at most a tenth of the images has an advantage above zero.",
        "a distiller and the whole set at symmetric 0.6",
        rates.few_samples,
    ),
    Claim(
        "C7",
        "Rare classes lose recall",
        "Distillation reduces the recall of rare classes more than that of frequent classes.",
        "On a long tail, the tail third of the classes loses more recall to distillation than the head third.",
        "a distiller and the whole set on a long tail (imbalance)",
        other.rare_classes_lose,
        against_baseline=False,
    ),
    Claim(
        "C8",
        "Less computation",
        "Distilling once and training one network costs less than training one network on the whole set.",
        "The counted floating-point operations, with the full cost of experts and pools, are at most half of those of "
        "training on the whole set. It fails if they are twice as many with the cost of pools divided by their users.",
        "a distiller and the whole set",
        cost.less_work,
        against_baseline=False,
        unit="times",
    ),
    Claim(
        "C9",
        "Less membership leakage",
        "Models trained on distilled sets reveal less about which images were in the training set.",
        "A likelihood-ratio attack has a smaller AUC on models of the distilled set than on models of all images "
        "(same recipe, same accuracy) and on models of a random set of the same size.",
        "a distiller with the column membership, from experiments.membership",
        privacy.privacy,
        against_baseline=False,
        unit="AUC",
    ),
    Claim(
        "C10",
        "More noise needs more images",
        "The number of distilled images that a method needs grows with the noise rate.",
        "The size that reaches 95 % of a method's maximum is larger at the highest symmetric rate than at the lowest.",
        "a distiller at three sizes and two rates",
        other.noisier_needs_more,
        against_baseline=False,
        unit="decades",
    ),
    Claim(
        "P1",
        "Large distilled sets absorb noise",
        "Large distilled sets reproduce more of the noise than small ones.",
        "Accuracy falls faster with the rate at 1000 images per class than at 50.",
        "a distiller at 50 and 1000 images per class and three rates",
        other.large_sets_absorb,
        against_baseline=False,
    ),
    Claim(
        "P2",
        "Early stopping explains part of the gain",
        "Part of the gain over the last epoch is also reached by early stopping.",
        "If a distilled set beats the last epoch of full training, so does the epoch picked on a noisy hold-out.",
        "a distilled set that beats the last epoch of full training, which had a hold-out",
        rates.early_stopping,
        against_baseline=False,
    ),
    Claim(
        "P3",
        "Filtered initial images explain part of the gain",
        "Part of the gain comes from the filter that selects the initial images.",
        "DATM initialised with correctly predicted images beats DATM initialised with any real images.",
        "datm with noisy labels, with start=correct and with start=real",
        other.filtering_start,
        against_baseline=False,
    ),
)
