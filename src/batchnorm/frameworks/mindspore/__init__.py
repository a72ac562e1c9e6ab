"""What is known of MindSpore, in each version."""
