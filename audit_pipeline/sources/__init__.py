"""One module per system that logs are collected from; found by the configured `type`."""
