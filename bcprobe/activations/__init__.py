"""What a model holds inside: which tensor, at which token, of which frame."""
