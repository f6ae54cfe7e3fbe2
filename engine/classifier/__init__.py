"""The slice-aware classifier: model, data, training, checkpoints. torch, no Spark."""
