"""Virtual machines for demonstrations and tests: their image, and the whole path on a machine of its own."""
