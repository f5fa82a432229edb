"""Layers that backbones and encoders are made of."""
