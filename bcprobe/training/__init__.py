"""What is learned: the stream of batches, the optimizers, and the loop."""
