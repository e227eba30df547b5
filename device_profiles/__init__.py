"""One TOML a device; read by edgebert.devices."""
