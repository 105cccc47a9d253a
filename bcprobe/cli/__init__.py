"""The command line: wires the rooms together, one verb each.

Heavy imports (torch, pandas, matplotlib) stand inside the verbs that need them, so that
``bcprobe --help`` answers at once.
"""

from __future__ import annotations

import errno
import os
import signal
import sys
import threading
import traceback
from contextlib import suppress
from typing import Annotated

import typer

from bcprobe.cli import analyse, data, models
from bcprobe.cli import patch as patching
from bcprobe.cli import serve as serving
from bcprobe.cli.examples import epilog
from bcprobe.cli.new_task import new_task
from bcprobe.cli.study import experiments, study
from bcprobe.errors import InputError, Interrupted

app = typer.Typer(
    name="bcprobe",
    help="What does a network that learned to annotate by watching annotators represent?",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


def _version(asked: bool) -> None:
    if asked:
        from bcprobe import __version__

        typer.echo(f"bcprobe {__version__}")
        raise typer.Exit


@app.callback()
def _every_verb(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Say which it is.")
    ] = False,
    debug: Annotated[
        bool, typer.Option("--debug", help="Show the traceback of an error; anywhere in a line.")
    ] = False,
) -> None:
    """What does a network that learned to annotate by watching annotators represent?"""


for verb in (
    data.tasks,
    data.show,
    data.generate,
    data.stats,
    models.train,
    models.evaluate,
    analyse.probe,
    patching.patch,
    patching.steer,
    analyse.activations,
    study,
    experiments,
    analyse.figure,
    models.checkpoints,
    serving.serve,
    new_task,
):
    app.command(verb.__name__.replace("_", "-"), epilog=epilog(verb.__name__))(verb)
#: Verbs that have another name now.
RENAMED = {"experiment": "study", "intervene": "steer"}


def main() -> None:
    """Run the command line. Bad input is one line and exit code 2; ctrl-C is 130, SIGTERM 143."""
    debug = "--debug" in sys.argv
    arguments = [a for a in sys.argv[1:] if a != "--debug"]
    _open_streams()
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, _terminated)
    try:
        if arguments and arguments[0] in RENAMED:
            now = " ".join([RENAMED[arguments[0]], *arguments[1:]])
            raise InputError(f"'{arguments[0]}' has another name now: bcprobe {now}")
        app(arguments, standalone_mode=True)
    except InputError as error:
        if debug:
            traceback.print_exc()
        raise SystemExit(_say(str(error), 2)) from None
    except SystemExit as error:  # Typer makes Ctrl-C an exit with 130
        if isinstance(error, Interrupted) or error.code == 130:
            _say("interrupted", 0)
        _flush(error.code)
        raise
    except KeyboardInterrupt:
        raise SystemExit(_say("interrupted", 130)) from None
    except OSError as error:
        if isinstance(error, BrokenPipeError) or error.errno == errno.ENOSPC:
            raise SystemExit(_unwritable(error)) from None
        raise


def _open_streams() -> None:
    """Let every character be written, somehow, and a stream that was closed swallow all."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115
        elif hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")


def _terminated(number: int, frame: object) -> None:
    raise Interrupted(number)


def _say(line: str, code: int) -> int:
    with suppress(OSError, ValueError):
        sys.stderr.write(f"bcprobe: {line}\n")
    return code


def _flush(code: object) -> None:
    """Write out what is printed; exit otherwise if it cannot be, as to a full disk."""
    try:
        sys.stdout.flush()
    except (OSError, ValueError) as error:
        raise SystemExit(_unwritable(error) if code in (0, None) else code) from None


def _unwritable(error: Exception) -> int:
    """Exit code after output could not be written; of a broken pipe nothing is said."""
    sys.stdout = open(os.devnull, "w")  # noqa: SIM115  # or Python says it again as it ends
    if isinstance(error, BrokenPipeError):
        return 128 + signal.SIGPIPE
    return _say(f"cannot write the output: {getattr(error, 'strerror', None) or error}", 1)
