"""Student blocks and checkpoints."""
