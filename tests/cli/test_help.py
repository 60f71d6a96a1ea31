"""Every command explains itself: each option, and an example that the command would take."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path as Files

import click
import pytest
from click.testing import CliRunner

from node.cli import main

Path = tuple[str, ...]


def commands(group: click.Group, path: Path = ()) -> Iterator[tuple[Path, click.Command]]:
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        if isinstance(command, click.Group):
            yield from commands(command, (*path, name))
        else:
            yield (*path, name), command


LEAVES = list(commands(main))


def examples(command: click.Command) -> list[list[str]]:
    """What the help tells to type, without remarks."""
    text = re.sub(r"\\\n\s*", " ", command.help or "")
    lines = [line.strip() for line in text.splitlines()]
    return [shlex.split(line, comments=True) for line in lines if line.startswith("gridbft ")]


@pytest.mark.parametrize(("path", "command"), LEAVES, ids=[" ".join(path) for path, _ in LEAVES])
def test_a_command_has_an_example_that_it_would_take_and_tells_what_each_option_is(
    path: Path, command: click.Command
) -> None:
    found = examples(command)
    assert found, "no example"
    options = {o: p for p in command.params if isinstance(p, click.Option) for o in (*p.opts, *p.secondary_opts)}
    arguments = [p for p in command.params if isinstance(p, click.Argument)]
    own = [words for words in found if tuple(words[1 : 1 + len(path)]) == path]
    assert own
    for words in own:
        rest, given = iter(words[1 + len(path) :]), 0
        for word in rest:
            if word.startswith("-"):
                assert word in options
                if not options[word].is_flag:
                    assert not next(rest).startswith("--")
            elif word != ">":
                given += 1
            else:
                next(rest)
        assert given >= sum(a.required for a in arguments)
        assert given <= len(arguments) or any(a.nargs == -1 for a in arguments)
        needed = [p for p in command.params if isinstance(p, click.Option) and p.required]
        assert all(set(p.opts) & set(words) for p in needed)
    assert not [p.name for p in options.values() if not p.help]


def test_the_help_of_every_command_can_be_shown() -> None:
    for path, _ in LEAVES:
        if path in (("tx",), ("query",)):
            continue  # they ask a node for the functions on the chain
        assert CliRunner().invoke(main, [*path, "--help"]).exit_code == 0


def test_the_version_is_told() -> None:
    assert re.fullmatch(r"gridbft [0-9.]+\n", CliRunner().invoke(main, ["--version"], prog_name="gridbft").output)


ROOT = Files(__file__).parents[2]
PAGES = sorted([*ROOT.glob("docs/*.md"), ROOT / "README.md", ROOT / "contracts" / "LANGUAGE.md"])


def written_commands(text: str) -> list[list[str]]:
    """Lines of a page that begin with a command of ours, and commands inside of a sentence that have an option."""
    joined = re.sub(r" *\\\n\s*", " ", text)
    lines = [re.sub(r"^(\w+=\S+ )*", "", line.strip()) for line in joined.splitlines() if line.startswith("    ")]
    inside = re.findall(r"`(gridbft [^`]* -[^`]*)`", joined.replace("\n", " "))
    # A column of remarks begins with #, or with at least two blanks and a parenthesis.
    found = [re.split(r"\s{2,}[#(]", line)[0] for line in (*lines, *inside) if re.match("gridbft [a-z]", line)]
    return [shlex.split(line, comments=True) for line in found]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_on_a_page_exist_with_all_their_options(page: Files) -> None:
    by_path = dict(LEAVES)
    for words in written_commands(page.read_text()):
        path = next((p for p in by_path if tuple(words[1 : 1 + len(p)]) == p), None)
        assert path is not None, words
        known = {o for p in by_path[path].params for o in (*p.opts, *p.secondary_opts)} | {"--help", "-h"}
        assert {word.split("=")[0] for word in words if word.startswith("-") and len(word) > 1} <= known, words


def test_the_operators_page_has_many_commands() -> None:
    assert len(written_commands((ROOT / "docs" / "operator.md").read_text())) > 20
