"""Whole networks of real nodes in one process; clock, network, disk and chance come from one seed.

The code under test is the production's: `node.service.Service` over `node.wiring.Node` with SQLite files.
What is simulated is only what surrounds it (`node.surroundings`). `run` plays one seed, `command` many;
docs/SIMULATOR.md says what is broken on purpose and what must hold all the same.
"""
