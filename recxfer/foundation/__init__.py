"""What every floor stands on: errors, config, registry, names, files, tensors, rng, ...."""
