"""Proof that a file still computes what the student computes."""
