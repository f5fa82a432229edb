"""The one loop, optimisers, ranking and statistics, runs and resume."""
