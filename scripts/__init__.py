"""What brings the plane up on one machine: install, start, walk the path, stop. The product never imports it."""
