"""A reactor without an event loop."""

from collections.abc import Iterator

import pytest

from tests.native.test_reactor import Driver


@pytest.fixture
def driver() -> Iterator[Driver]:
    driver = Driver()
    yield driver
    driver.reactor.close()
