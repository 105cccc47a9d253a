"""What a model holds about the state, and how linear probes read it."""
