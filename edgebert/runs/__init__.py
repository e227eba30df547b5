"""The run store: stages by key, atomic writes, resuming, locks."""
