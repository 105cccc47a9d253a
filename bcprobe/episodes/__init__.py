"""Episodes: clicks in, states and frames out; recorded, replayed, stored, shown.

The room itself can be called: ``bcprobe.episodes(tasks, n)`` generates annotators' episodes.
"""

from bcprobe.lazy import make_callable

make_callable(__name__, "bcprobe.episodes.generate:episodes")
