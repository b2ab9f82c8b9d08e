"""What brings the plane up on one machine: installing, starting, walking the path, stopping. Nothing of the product imports this."""
