"""Student space, cost model, choice of plan."""
