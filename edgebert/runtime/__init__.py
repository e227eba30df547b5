"""Running files: sessions, batches, and an interpreter for Core ML. Converters and bundles stand on it."""
