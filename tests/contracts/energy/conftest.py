from __future__ import annotations

import pytest

from tests.contracts.energy.network import Network


@pytest.fixture
def network() -> Network:
    return Network()
