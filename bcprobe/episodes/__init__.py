"""Episodes: clicks in, states and frames out; recorded, replayed, stored, shown."""

from __future__ import annotations

from bcprobe.types import Episode


def _to_html(episode: Episode) -> str:
    from bcprobe.episodes.html import to_html

    return to_html(episode)


Episode.to_html = _to_html
