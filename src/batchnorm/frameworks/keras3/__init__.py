"""What is known of Keras 3."""
