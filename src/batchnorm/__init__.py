"""Batch normalization exactly as PyTorch, MindSpore and Keras define it, and the bridge between."""
