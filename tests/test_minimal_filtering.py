"""The matrices of minimal filtering filter."""

import numpy as np
import pytest

from ddjax.models.convolution.minimal_filtering import BY_FOUR, BY_TWO


@pytest.mark.parametrize("way", [BY_TWO, BY_FOUR], ids=["by two", "by four"])
def test_products_of_transforms_are_a_correlation(way):
    rng = np.random.default_rng(0)
    x, w = rng.normal(size=way.step + 2), rng.normal(size=3)
    found = np.array(way.A) @ ((np.array(way.G) @ w) * (np.array(way.B) @ x))
    np.testing.assert_allclose(found, np.correlate(x, w, "valid"), rtol=0, atol=1e-14)
