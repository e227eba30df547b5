"""One trainer, built on transformers.Trainer, and the pure loss functions."""
