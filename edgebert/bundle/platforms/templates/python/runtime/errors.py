"""The one error of this package."""

from __future__ import annotations


class ModelError(Exception):
    """A call that the model does not offer, a text that it cannot read, or a file of the package that was changed."""
