"""The five stages as functions: a config in, a result out; no printing. This is the Python API."""
