"""Layers that transfer methods add to a backbone, or put around its kernels."""
