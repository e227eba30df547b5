"""What a student may cost: one list of limits, for predicted and for measured figures alike; and the choice of a file."""
