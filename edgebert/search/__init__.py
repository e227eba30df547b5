"""The student space, the plan, and strategies over it."""
