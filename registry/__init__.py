"""Registry: short-lived credentials, the built-in registry's token service, and which digest a tag stands for."""
