"""The command line: `python -m lab COMMAND`, reached through ./overcast."""

from __future__ import annotations

import sys

from lab.commands.main import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
