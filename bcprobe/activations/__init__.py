"""What a model holds inside: which tensor, at which token, of which frame.

The room itself can be called: ``bcprobe.activations(model, tasks="all")``.
"""

from bcprobe.lazy import make_callable

make_callable(__name__, "bcprobe.activations.gather:activations")
