"""Evaluation: ranking, cases, metrics, slices, statistics and reports."""
