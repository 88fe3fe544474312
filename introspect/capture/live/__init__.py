"""A training that runs: its changes, its batches, its flag writes, its callback class, its event files."""
