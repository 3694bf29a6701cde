"""``--help`` in the language of the run: click's own form, with the catalogue's words.

The English of a command stands where it is written, as docstring and option help; its Russian stands in
``texts/help.toml`` beside a copy of that English, by which it is found. Where there is none (the operator's
and the auditor's commands), the help stays as click makes it.
"""

from __future__ import annotations

import inspect
import textwrap
from typing import TYPE_CHECKING

import click

from cli import language
from cli.heard import translated
from cli.language import say

if TYPE_CHECKING:
    _Base = click.Command
else:
    _Base = object

SHORT_CHARS_MIN = 20
"""Of a line in a list of commands, however narrow the terminal is."""


class SpokenHelp(_Base):
    """What `Command` and `Group` change of click's help; English goes click's own way."""

    def format_usage(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the line that begins with ``Usage:``."""
        if not is_spoken(self.help):
            super().format_usage(ctx, formatter)
            return
        pieces = " ".join(self.collect_usage_pieces(ctx))
        formatter.write_usage(ctx.command_path, pieces, f"{say('usage.usage')} ")

    def format_help_text(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write what the command does."""
        if not is_spoken(self.help):
            super().format_help_text(ctx, formatter)
            return
        formatter.write_paragraph()
        with formatter.indentation():
            formatter.write_text(_spoken(self.help))

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options, and the commands of a group."""
        if not is_spoken(self.help):
            super().format_options(ctx, formatter)
            return
        records = (one.get_help_record(ctx) for one in self.get_params(ctx) if isinstance(one, click.Option))
        rows = [(name, _spoken_option(text)) for name, text in filter(None, records)]
        with formatter.section(say("usage.options")):
            formatter.write_dl(rows)
        if isinstance(self, click.Group):
            self.format_commands(ctx, formatter)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the commands of a group, a line each."""
        assert isinstance(self, click.Group)
        if not is_spoken(self.help):
            click.Group.format_commands(self, ctx, formatter)
            return
        names = self.list_commands(ctx)
        limit = formatter.width - 6 - max(map(len, names), default=0)
        rows = [(name, self.commands[name].get_short_help_str(limit)) for name in names]
        with formatter.section(say("usage.commands")):
            formatter.write_dl(rows)

    def get_short_help_str(self, limit: int = 45) -> str:
        """Return the first sentence of the help."""
        if not is_spoken(self.help):
            return super().get_short_help_str(limit)
        sentence = _spoken(self.help).partition(". ")[0].rstrip(".")
        return textwrap.shorten(sentence, max(limit, SHORT_CHARS_MIN), placeholder="…")

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the examples and the exit codes."""
        if not self.epilog or not is_spoken(self.help):
            super().format_epilog(ctx, formatter)
            return
        formatter.write_paragraph()
        with formatter.indentation():
            formatter.write_text("\n".join(map(translated, self.epilog.split("\n"))))


def is_spoken(text: str | None) -> bool:
    """Whether this help is known in the language of the run, other than English."""
    return language.current() != "en" and bool(text) and _spoken(text) != paragraphs(text)


def paragraphs(text: str | None) -> str:
    """Return a docstring as its paragraphs, each on one line: the form in which it is looked for."""
    cleaned = inspect.cleandoc(text or "").split("\n\n")
    return "\n\n".join(" ".join(one.split()) for one in cleaned)


def _spoken(text: str | None) -> str:
    """The paragraphs, each as far as the catalogue knows it."""
    return "\n\n".join(map(translated, paragraphs(text).split("\n\n")))


def _spoken_option(text: str) -> str:
    """An option's help with what click adds to it: default, required, range."""
    said, mark, extra = text.partition("  [")
    if not mark:
        return translated(said)
    return f"{translated(said)}{mark}{'; '.join(map(translated, extra[:-1].split('; ')))}]"
