"""What libraries say while edgebert works."""

from __future__ import annotations

import logging
import sys

import pytest

from edgebert.runtime.quiet import quiet


@pytest.mark.parametrize("name", ["", "some.library"])
def test_a_handler_that_was_made_meanwhile_writes_to_the_terminal_afterwards(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Python makes one where a library logs and nobody has set logging up; its stream would be gone."""
    logger = logging.getLogger(name)
    with quiet(capture=True) as captured:
        handler = logging.StreamHandler()
        logger.addHandler(handler)
        print("within")
    try:
        assert handler.stream is sys.stderr and captured.text == "within\n"
        logger.error("afterwards")
    finally:
        logger.removeHandler(handler)
    assert capsys.readouterr().err == "afterwards\n"
