"""Contract tests for whoever writes a component: subclass one, and let pytest collect it."""
