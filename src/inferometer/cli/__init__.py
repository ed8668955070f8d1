"""The command line: one file a verb, loaded when it is called; here errors become exit codes.

A verb lives in ``cli/<verb>.py`` and is the ``click`` command named ``command`` there; ``import`` and ``run``, whose
names are taken, in ``import_.py`` and ``run_.py``.
"""

from __future__ import annotations

import errno
import io
import os
import sys
import traceback
from collections.abc import Sequence
from importlib import import_module

import click
from click.shell_completion import CompletionItem

from inferometer.schema.errors import InferometerError, MissingExtraError, UserError

DONE, FOUND, USER_MISTAKE, OUR_FAILURE, INTERRUPTED, UNREAD = 0, 1, 2, 3, 130, 141

VERBS: dict[str, tuple[str, str]] = {
    # name: (one line for --help, extra that brings the verb's packages)
    "demo": ("Trace a small agent, import sample sessions, write an audit.", "demo"),
    "run": ("Run a program with hooks installed.", "cost"),
    "import": ("Read traces and transcripts into the store.", "cost"),
    "sidecar": ("Receive OTLP into the store.", "sidecar"),
    "runs": ("List runs with cost, tokens and duration.", "cost"),
    "show": ("Show one run as a tree.", "cost"),
    "cost": ("Account for tokens and dollars.", "cost"),
    "replay": ("Replay the recorded workload on other hardware.", "audit"),
    "predict": ("Predict TTFT, TPOT and throughput of configurations.", "audit"),
    "sweep": ("Replay on every profile that fits.", "audit"),
    "audit": ("Write the audit.", "audit"),
    "reconcile": ("Set a provider's bill beside the traces.", "audit"),
    "check": ("Fail where a budget is broken.", "audit"),
    "diff": ("Compare two audits.", "audit"),
    "export": ("Write the store's records in another format.", "cost"),
    "store": ("Look after the store.", "cost"),
    "tokens": ("Count tokens, time the counting.", "cost"),
    "profiles": ("List, show and validate profiles.", "cost"),
    "calibrate": ("Measure this machine into a hardware profile.", "calibrate"),
}


_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""What a stream without a name, such as stdout on a file, says where its disk has no room."""

_TAKEN = ("import", "run")
"""A module ``run`` would stand where the function of that name does, once it is imported."""


class VerbGroup(click.Group):
    """A group that imports a verb's module only when that verb is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the verbs in the order of the documentation."""
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import and return one verb; a package of its extra that is missing is named."""
        if cmd_name not in VERBS:
            return None
        module = f"inferometer.cli.{cmd_name}_" if cmd_name in _TAKEN else f"inferometer.cli.{cmd_name}"
        try:
            command = import_module(module).command
        except ModuleNotFoundError as error:
            if error.name and error.name.startswith("inferometer"):
                raise
            raise MissingExtraError(f"inferometer {cmd_name}", VERBS[cmd_name][1], str(error.name)) from error
        assert isinstance(command, click.Command)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Name the nearest verbs where one is unknown."""
        if args and args[0] not in VERBS and not args[0].startswith("-") and not ctx.resilient_parsing:
            from inferometer.schema.errors import UnknownNameError

            raise UnknownNameError("command", args[0], VERBS)
        return super().resolve_command(ctx, args)

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Complete the verbs without importing them."""
        found = [CompletionItem(name, help=line) for name, (line, _) in VERBS.items() if name.startswith(incomplete)]
        return found + click.Command.shell_complete(self, ctx, incomplete)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the verbs without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (line, _) in VERBS.items()])


@click.group(cls=VerbGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120})
@click.version_option(package_name="inferometer", prog_name="inferometer")
def main() -> None:
    """Trace agentic workloads and audit what they cost."""


def run(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        arguments: words after the program's name; ``sys.argv`` where None.

    Returns:
        The exit code: 0 done, 1 a check found something, 2 the user's mistake, 3 our failure; 130 interrupted, 141
        the reader of the output left, as of any program in a shell.
    """
    if sys.stdin is None:  # as a shell's <&- leaves it
        sys.stdin = io.TextIOWrapper(io.BytesIO())
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # what a terminal cannot show is no reason to fail
    try:
        result = main(args=arguments, prog_name="inferometer", standalone_mode=False)
    except click.exceptions.Abort:
        click.echo("stopped", err=True)
        return INTERRUPTED
    except SystemExit as left:
        if not left.code:  # a shell asked for completions
            return DONE
        # click and rich leave so, and nothing else does, where the reader of our output left, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # nothing may be flushed to it at exit
        return UNREAD
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message(), err=True)
        return USER_MISTAKE
    except click.ClickException as error:
        return _user_mistake(error.format_message())
    except UserError as error:
        return _user_mistake(str(error))
    except ModuleNotFoundError as error:
        return _missing_package(error, arguments)
    except InferometerError as error:
        click.echo(f"error: {error}", err=True)
        return OUR_FAILURE
    except Exception as error:
        if isinstance(error, OSError) and (error.filename is not None or error.errno in _FULL):
            return _user_mistake(f"{error.filename or 'output'}: {(error.strerror or str(error)).lower()}")
        click.echo(f"error: {type(error).__name__}: {error} (a failure of ours; please report it)", err=True)
        if os.environ.get("INFEROMETER_DEBUG"):
            traceback.print_exc()
        return OUR_FAILURE
    return result if isinstance(result, int) else DONE


def _user_mistake(message: str) -> int:
    click.echo("error: " + " ".join(message.split()), err=True)
    return USER_MISTAKE


def _missing_package(error: ModuleNotFoundError, arguments: Sequence[str] | None) -> int:
    words = list(sys.argv[1:] if arguments is None else arguments)
    verb = next((word for word in words if word in VERBS), None)
    if verb is None or (error.name or "").startswith("inferometer"):
        click.echo(f"error: {error} (a failure of ours; please report it)", err=True)
        return OUR_FAILURE
    return _user_mistake(str(MissingExtraError(f"inferometer {verb}", VERBS[verb][1], str(error.name))))
