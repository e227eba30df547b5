"""How numbers are stored and computed in few bits: a value that crosses from methods to converters with the checkpoint."""

from edgebert.quantization.spec import Granularity, QuantSpec, TensorSpec, read_spec, write_spec

__all__ = ["Granularity", "QuantSpec", "TensorSpec", "read_spec", "write_spec"]
