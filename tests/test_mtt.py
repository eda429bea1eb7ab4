"""MTT keeps the contract: hard labels, plain experts, no gate."""

import numpy as np
import pytest

from ddjax import testing
from ddjax.distillers import datm

TINY = {
    "ipc": 2,
    "steps": 3,
    "width": 4,
    "depth": 1,
    "experts": 2,
    "expert_epochs": 4,
    "store": False,
    "last_start": 2,
    "match_epochs": 2,
    "inner_steps": 3,
    "inner_batch": 3,
    "average_decay": 0.5,
}
test_contract = pytest.mark.slow(testing.contract(datm.MTT, **TINY))


@pytest.mark.slow
def test_labels_stay_hard_and_the_average_is_the_result():
    case = test_contract.case()
    state = case.looped()
    found = case.distiller.extract(state)
    np.testing.assert_array_equal(found.labels, np.repeat(np.arange(3), 2))
    np.testing.assert_array_equal(state.learned.labels, case.start.labels)
    assert int(state.accepted) == 3
    assert not np.allclose(found.images, state.learned.images)
    np.testing.assert_array_equal(found.images, state.average)
