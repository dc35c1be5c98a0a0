"""Numbers about a study, without drawing: each module can be imported alone."""
