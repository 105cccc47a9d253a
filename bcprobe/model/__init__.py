"""The network; it knows no task."""
