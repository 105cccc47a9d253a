"""The command line: wires the rooms together, one verb each.

Heavy imports (torch, pandas, matplotlib) stand inside the verbs that need them, so that
``bcprobe --help`` answers at once.
"""

from __future__ import annotations

import sys
import traceback

import typer

from bcprobe.cli import analyse, data, models
from bcprobe.cli import patch as patching
from bcprobe.cli import serve as serving
from bcprobe.cli.examples import epilog
from bcprobe.cli.study import experiments, study
from bcprobe.errors import InputError, Interrupted

app = typer.Typer(
    name="bcprobe",
    help="What does a network that learned to annotate by watching annotators represent?",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
for verb in (
    data.tasks,
    data.show,
    data.generate,
    data.stats,
    models.train,
    models.evaluate,
    analyse.probe,
    patching.patch,
    analyse.activations,
    analyse.intervene,
    study,
    experiments,
    analyse.figure,
    models.checkpoints,
    serving.serve,
):
    app.command(epilog=epilog(verb.__name__))(verb)
#: Verbs that have another name now.
RENAMED = {"experiment": "study"}


def main() -> None:
    """Run the command line. Bad input is one line and exit code 2; ctrl-C is 130, SIGTERM 143."""
    debug = "--debug" in sys.argv
    arguments = [a for a in sys.argv[1:] if a != "--debug"]
    try:
        if arguments and arguments[0] in RENAMED:
            now = " ".join([RENAMED[arguments[0]], *arguments[1:]])
            raise InputError(f"'{arguments[0]}' has another name now: bcprobe {now}")
        app(arguments, standalone_mode=True)
    except InputError as error:
        if debug:
            traceback.print_exc()
        sys.stderr.write(f"bcprobe: {error}\n")
        raise SystemExit(2) from None
    except SystemExit as error:  # Typer makes Ctrl-C an exit with 130
        if isinstance(error, Interrupted) or error.code == 130:
            sys.stderr.write("bcprobe: interrupted\n")
        raise
    except KeyboardInterrupt:
        sys.stderr.write("bcprobe: interrupted\n")
        raise SystemExit(130) from None
