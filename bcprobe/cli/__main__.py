"""The command line as ``python -m bcprobe.cli``, which launchers of many processes take."""

from __future__ import annotations

from bcprobe.cli import main

if __name__ == "__main__":
    main()
