"""Pages for people, and the three probes for machines: read only, rendered on the server, complete without scripts."""
