"""Class names, look-alike pairs and superclasses of CIFAR."""

import numpy as np

CIFAR10 = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")

# (clean, given) of asymmetric noise: truck -> automobile, bird -> airplane, cat <-> dog, deer -> horse
CIFAR10_CONFUSED = ((9, 1), (2, 0), (3, 5), (5, 3), (4, 7))
# (clean, given) of handwritten digits: Patrini et al., 2017 (arXiv:1609.03683)
DIGITS_CONFUSED = ((2, 7), (3, 8), (5, 6), (6, 5), (7, 1))
# truck/automobile, bird/airplane, deer/horse, cat/dog, frog/ship
CIFAR10_PAIRS = ((9, 1), (2, 0), (4, 7), (3, 5), (6, 8))

# in official order, so the position of a superclass is its coarse label; members are ascending
CIFAR100_SUPERCLASSES = {
    "aquatic_mammals": (4, 30, 55, 72, 95),
    "fish": (1, 32, 67, 73, 91),
    "flowers": (54, 62, 70, 82, 92),
    "food_containers": (9, 10, 16, 28, 61),
    "fruit_and_vegetables": (0, 51, 53, 57, 83),
    "household_electrical_devices": (22, 39, 40, 86, 87),
    "household_furniture": (5, 20, 25, 84, 94),
    "insects": (6, 7, 14, 18, 24),
    "large_carnivores": (3, 42, 43, 88, 97),
    "large_man-made_outdoor_things": (12, 17, 37, 68, 76),
    "large_natural_outdoor_scenes": (23, 33, 49, 60, 71),
    "large_omnivores_and_herbivores": (15, 19, 21, 31, 38),
    "medium_mammals": (34, 63, 64, 66, 75),
    "non-insect_invertebrates": (26, 45, 77, 79, 99),
    "people": (2, 11, 35, 46, 98),
    "reptiles": (27, 29, 44, 78, 93),
    "small_mammals": (36, 50, 65, 74, 80),
    "trees": (47, 52, 56, 59, 96),
    "vehicles_1": (8, 13, 48, 58, 90),
    "vehicles_2": (41, 69, 81, 85, 89),
}
MOUSE = 50

# [100]: the coarse label of each fine class
CIFAR100_COARSE = np.argsort(np.concatenate([*CIFAR100_SUPERCLASSES.values()])) // 5
