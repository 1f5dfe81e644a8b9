"""What holds for all tests of the project itself."""

import signal


def pytest_configure() -> None:
    """What the tests start can be interrupted, also where this run cannot: a shell's background jobs ignore SIGINT."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
