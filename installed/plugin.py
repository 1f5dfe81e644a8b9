"""The fixtures of Overcast for a project's own pytest: `pytest -p overcast.plugin DIR`."""

from __future__ import annotations

import sys

from overcast import TREE

sys.path.insert(0, str(TREE))

from conftest import pytest_plugins as pytest_plugins
