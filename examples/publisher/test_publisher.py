"""
A publisher and its subscribers run unchanged on the hosts of the lab.

    publisher.py on spoke1 ── 239.1.2.3 ──▶ subscriber.py on all other hosts
"""

import contextlib
from pathlib import Path

import pytest

from lab.laboratory import Lab
from lab.machines import program

HERE = Path(__file__).parent
GROUP, PORT = "239.1.2.3", "5007"
WITHIN = 2.0  # seconds


@pytest.mark.parametrize("publisher", ["hub", "spoke1", "spoke2"])
def test_every_subscriber_receives_the_message(overlay: Lab, publisher: str) -> None:
    """Subscribers on all other hosts receive the message that one host publishes."""
    with contextlib.ExitStack() as running:  # also after a failure no subscriber keeps the port
        subscribers = [
            running.enter_context(
                program.start(
                    overlay[name].node,
                    "python3",
                    str(HERE / "subscriber.py"),
                    GROUP,
                    PORT,
                    package="python3",
                    ready="ready",
                )
            )
            for name in overlay.others(publisher)
        ]

        overlay[publisher].node.run("python3", str(HERE / "publisher.py"), GROUP, PORT, f"news of {publisher}")

        for subscriber in subscribers:
            subscriber.await_output(f"received news of {publisher}", within=WITHIN)
