"""What depends on what is inside: patch, steer, erase."""
