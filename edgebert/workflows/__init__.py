"""What each command does from end to end: fit, compress, convert. Everything below is parts."""
