"""Device profiles, and this machine."""
