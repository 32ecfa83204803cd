"""The slowest, plainest form of each algorithm, straight from its definition."""
