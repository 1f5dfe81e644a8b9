"""Tests of the hub need one."""

import pytest


@pytest.fixture(autouse=True)
def _hub(hub):
    """The overlay has a hub; without, these requirements have no meaning."""
