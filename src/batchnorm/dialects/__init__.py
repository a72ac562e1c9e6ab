"""One module per framework, each the declaration of its batch-norm layers."""
