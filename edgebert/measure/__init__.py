"""Measuring: one protocol, files interleaved, every figure with how it was obtained."""
