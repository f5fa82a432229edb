"""The five stages as Python functions: a config in, a result out; no printing."""
