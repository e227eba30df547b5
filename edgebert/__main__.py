"""`python -m edgebert`, also for `accelerate launch -m edgebert fit …`."""

from edgebert.cli import main

main()
