"""What both Keras dialects share."""
