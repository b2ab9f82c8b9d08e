"""Where servers and volumes come from: one interface, and a thin adapter per cloud behind it."""
