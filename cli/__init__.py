"""The command line that staff, operators and auditors use."""
