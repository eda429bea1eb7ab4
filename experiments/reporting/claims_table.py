"""The study's claims: their statements, their tests in words, and the functions that judge them."""

from experiments.reporting import claims_cost as cost
from experiments.reporting import claims_other as other
from experiments.reporting import claims_privacy as privacy
from experiments.reporting import claims_rates as rates
from experiments.reporting.claims import Claim

CLAIMS: tuple[Claim, ...] = (
    Claim(
        "C1",
        "Fewer images beat all of them",
        "Above a critical rate of symmetric noise, far fewer distilled images beat training on everything.",
        "At 10 and 50 per class, the advantage is above zero at the largest measured rate up to 0.6 and at every rate "
        "of the grid beyond it. One advantage below zero at 0.6 or 0.8 refutes it.",
        "a distiller and the full set with symmetric noise, three seeds each",
        rates.beyond_a_critical_rate,
    ),
    Claim(
        "C2",
        "More noise, more advantage",
        "That advantage grows with the symmetric rate.",
        "The slope of the least-squares line through the advantages over the rates is above zero.",
        "a distiller and the full set at two symmetric rates",
        rates.grows_with_rate,
    ),
    Claim(
        "C3",
        "Structured noise is absorbed",
        "Distilled sets take over asymmetric noise, and so gain less from it than from symmetric noise.",
        "Distilled models predict the noise's target for its source classes at most 2 points less often than full "
        "models. At equal nominal rates the advantage is larger with symmetric than with asymmetric noise.",
        "a distiller and the full set with symmetric and with asymmetric noise",
        rates.structure_is_absorbed,
    ),
    Claim(
        "C4",
        "No gain on CIFAR-100 with asymmetric noise",
        "On CIFAR-100 with asymmetric noise distilled sets stay behind at high rates.",
        "At every measured rate above 0.4 the advantage is below zero.",
        "cifar100 with asymmetric noise at 0.6 or 0.8",
        rates.limited_on_cifar100,
    ),
    Claim(
        "C5",
        "Labels by people: wins with many errors",
        "With human labels distilled sets win where errors are many and lose where they are few.",
        "The advantage is above zero for worst and noisy100, and below zero for aggre.",
        "the human labels worst, aggre or noisy100",
        rates.human_labels,
    ),
    Claim(
        "C6",
        "A tenth of the images is enough",
        "A few distilled images are enough to win.",
        "At symmetric rate 0.6, some set of at most a tenth of the images has an advantage above zero.",
        "a distiller and the full set at symmetric 0.6",
        rates.few_samples,
    ),
    Claim(
        "C7",
        "Rare classes are lost",
        "Clean but rare classes are compressed away.",
        "On a long tail, the tail third of the classes loses more recall to distillation than the head third.",
        "a distiller and the full set on a long tail (imbalance)",
        other.rare_classes_lose,
        against_baseline=False,
    ),
    Claim(
        "C8",
        "Less computation",
        "Distilling once and training one network is cheaper than training one on everything.",
        "Counted floating-point operations, with experts and pools in full, are at most half of those of training on "
        "everything. It fails where they are twice as many even if all runs that use a pool divide its cost.",
        "a distiller and the full set",
        cost.less_work,
        against_baseline=False,
        unit="times",
    ),
    Claim(
        "C9",
        "Less is given away about who was in the data",
        "Models trained on distilled sets give away less about who was in the data.",
        "A likelihood-ratio attack has a smaller AUC on the distilled set's models than on models of all images, "
        "trained by the same recipe to the same accuracy, and than on models of a random set of the same size.",
        "a distiller with the column membership, from experiments.membership",
        privacy.privacy,
        against_baseline=False,
        unit="AUC",
    ),
    Claim(
        "C10",
        "More noise takes more images",
        "The fewer labels are right, the more images are needed.",
        "The size that reaches 95 % of a method's maximum is larger at the highest symmetric rate than at the lowest.",
        "a distiller at three sizes and two rates",
        other.noisier_needs_more,
        against_baseline=False,
        unit="decades",
    ),
    Claim(
        "P1",
        "Large distilled sets absorb noise",
        "The larger a distilled set, the more of the noise it takes over.",
        "Accuracy falls faster with the rate at 1000 images per class than at 50.",
        "a distiller at 50 and 1000 images per class and three rates",
        other.large_sets_absorb,
        against_baseline=False,
    ),
    Claim(
        "P2",
        "Early stopping explains part of the gain",
        "Part of the gain over the last epoch is what early stopping would give.",
        "Where a distilled set beats the last epoch of full training, the epoch picked on a noisy hold-out does too.",
        "a distilled set that beats the last epoch of full training, which had a hold-out",
        rates.early_stopping,
        against_baseline=False,
    ),
    Claim(
        "P3",
        "Filtered first images explain part of the gain",
        "Part of the gain is the filter that chooses initial images.",
        "DATM from correctly predicted images beats DATM from any real ones.",
        "datm with noisy labels, with start=correct and with start=real",
        other.filtering_start,
        against_baseline=False,
    ),
)
