"""Run the simulator from the command line."""

import sys

from tests.simulator.command import main

if __name__ == "__main__":
    sys.exit(main())
