"""The corpus of escapes and bombs: each is refused with its own code, or runs out of what it was given."""

from __future__ import annotations

import pytest

from contracts.runtime.api import Call
from contracts.runtime.checker import check
from contracts.runtime.codec import encode
from contracts.runtime.deploy import deploy_writes
from contracts.runtime.engine import MeteredRuntime
from tests.contracts.runtime.corpus import (
    BOMBS,
    REFUSED_EXPRESSIONS,
    REFUSED_MODULES,
    REFUSED_STATEMENTS,
    body,
    module,
)

GAS_LIMIT = 2_000_000


def codes(source: str) -> set[str]:
    contract, errors = check(source.encode("utf-8"))
    assert (contract is None) == bool(errors)
    return {error.code for error in errors}


@pytest.mark.parametrize(("text", "code"), REFUSED_EXPRESSIONS)
def test_an_expression_outside_of_the_language_is_refused(text: str, code: str) -> None:
    assert codes(body(f"x = {text}")) & set(code.split("_OR_")), codes(body(f"x = {text}"))


@pytest.mark.parametrize(("text", "code"), REFUSED_STATEMENTS)
def test_a_statement_outside_of_the_language_is_refused(text: str, code: str) -> None:
    assert codes(body(text)) & set(code.split("_OR_")), codes(body(text))


@pytest.mark.parametrize(("text", "code"), REFUSED_MODULES)
def test_a_module_outside_of_the_language_is_refused(text: str, code: str) -> None:
    assert codes(module(text)) & set(code.split("_OR_")), codes(module(text))


@pytest.mark.parametrize(("text", "code"), BOMBS)
def test_a_bomb_ends_with_its_code_and_changes_nothing(text: str, code: str) -> None:
    source = body(text).encode()
    assert check(source)[1] == []
    call = Call("c", "f", encode([0]), "a" * 40, 1, 1_000)
    outcome = MeteredRuntime(lambda *_: True).execute(call, deploy_writes("c", source), GAS_LIMIT)
    assert (outcome.ok, outcome.code) == (False, code)
    assert outcome.writes == {}
    assert outcome.events == ()
    assert 0 < outcome.gas_used <= GAS_LIMIT


def test_the_corpus_is_as_large_as_promised() -> None:
    assert len(REFUSED_EXPRESSIONS) + len(REFUSED_STATEMENTS) + len(REFUSED_MODULES) + len(BOMBS) >= 150
