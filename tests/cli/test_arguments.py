"""Words of the command line become the values that an interface asks for, or an error that says what was expected."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gridbft.abi import Type, named, parse_type
from gridbft.records import ContractAbi, FunctionAbi, ParamAbi
from node.cli.arguments import arguments, find_function, from_word
from node.cli.output import InputError

ADDRESSES = {"alice": "aa" * 20, "bob": "bb" * 20}


def resolve(name: str) -> str:
    if name not in ADDRESSES:
        raise InputError(f"no key {name}")
    return ADDRESSES[name]


scalars = st.sampled_from([Type("int"), Type("str"), Type("bytes"), Type("bool")])


def _compound(inner: st.SearchStrategy[Type]) -> st.SearchStrategy[Type]:
    several = st.lists(inner, min_size=1, max_size=3).map(tuple)
    return st.one_of(
        inner.map(lambda t: Type("list", (t,))),
        several.map(lambda ts: Type("tuple", ts)),
        inner.map(lambda t: Type("tuple", (t, Type("...")))),
        st.tuples(scalars, inner).map(lambda kv: Type("dict", kv)),
        several.map(lambda ts: Type("Order", ts, tuple(f"field_{i}" for i in range(len(ts))))),
    )


types = st.recursive(scalars, _compound, max_leaves=6)


def values(kind: Type) -> st.SearchStrategy[Any]:
    match kind.name:
        case "int":
            return st.integers(-(2**255), 2**255 - 1)
        case "str":
            return st.text(max_size=8)
        case "bytes":
            return st.binary(max_size=8)
        case "bool":
            return st.booleans()
        case "list":
            return st.lists(values(kind.of[0]), max_size=3)
        case "tuple" if kind.of[-1].name == "...":
            return st.lists(values(kind.of[0]), max_size=3)
        case "dict":
            return st.dictionaries(values(kind.of[0]), values(kind.of[1]), max_size=3)
        case _:
            return st.tuples(*map(values, kind.of)).map(list)


def to_json(value: Any) -> Any:
    """How a person writes a value inside JSON."""
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, str):
        return "@" + value if value.startswith("@") else value
    if isinstance(value, list):
        return [to_json(v) for v in value]
    return {to_word(k): to_json(v) for k, v in value.items()} if isinstance(value, dict) else value


def to_word(value: Any) -> str:
    """How a person writes a value as a word of the command line."""
    if isinstance(value, bool):
        return "true" if value else "false"
    plain = to_json(value)
    return plain if isinstance(plain, str) else json.dumps(plain)


typed_values = types.flatmap(lambda kind: st.tuples(st.just(kind), values(kind)))


@given(typed_values)
def test_what_is_written_for_a_value_is_read_as_that_value(typed: tuple[Type, Any]) -> None:
    kind, value = typed
    assert from_word(kind, to_word(value), resolve) == value


@given(types)
def test_a_type_is_read_as_it_is_spelled(kind: Type) -> None:
    assert parse_type(str(kind)) == kind
    optional = Type("|", (kind, Type("None")))
    assert parse_type(str(optional)) == optional


@given(st.text(alphabet="int[]().:,| ", max_size=20))
def test_no_text_breaks_the_reader_of_types(text: str) -> None:
    try:
        assert str(parse_type(text))
    except ValueError:
        return


@given(types, st.text(max_size=20))
def test_no_word_gives_anything_but_a_value_or_an_error(kind: Type, word: str) -> None:
    try:
        from_word(kind, word, resolve)
    except (ValueError, InputError):
        return


records = st.lists(types, min_size=1, max_size=3).map(lambda ts: Type("Line", tuple(ts), ("x", "y", "z")[: len(ts)]))


@given(records.flatmap(lambda kind: st.tuples(st.just(kind), values(kind))))
def test_a_record_may_be_written_with_its_field_names(typed: tuple[Type, Any]) -> None:
    kind, value = typed
    written = json.dumps(dict(zip(kind.fields, map(to_json, value), strict=True)))
    assert from_word(kind, written, resolve) == value
    assert list(named(kind, value)) == list(kind.fields)


@pytest.mark.parametrize(
    ("kind", "word", "value"),
    [
        ("int", "1_000_000", 1_000_000),
        ("int", "-5", -5),
        ("str", "@alice", "aa" * 20),
        ("str", "@@alice", "@alice"),
        ("str", "12", "12"),
        ("bytes", "0xff00", b"\xff\x00"),
        ("bool", "true", True),
        ("None", "null", None),
        ("str | None", "null", None),
        ("int | None", "3", 3),
        ("list[str]", '["@bob", "x"]', ["bb" * 20, "x"]),
        ("list[tuple[str, int]]", '[["@bob", 3]]', [["bb" * 20, 3]]),
        ("dict[int, str]", '{"7": "x"}', {7: "x"}),
        ("Line(account: str, wh: int | None)", '{"wh": null, "account": "@bob"}', ["bb" * 20, None]),
    ],
)
def test_examples_of_words(kind: str, word: str, value: Any) -> None:
    assert from_word(parse_type(kind), word, resolve) == value


@pytest.mark.parametrize(
    ("kind", "word"),
    [
        ("int", "1.5"),
        ("int", "1__0"),
        ("int", "0x10"),
        ("int", ""),
        ("bool", "yes"),
        ("bytes", "xyz"),
        ("list[int]", "[1.5]"),
        ("list[int]", "[true]"),
        ("list[int]", '["1"]'),
        ("list[int]", "7"),
        ("list[int]", "["),
        ("tuple[int, int]", "[1]"),
        ("Line(account: str)", '{"other": "x"}'),
        ("Line(account: str)", "[]"),
        ("dict[str, int]", "[]"),
        ("None", "x"),
        ("int | None", "x"),
    ],
)
def test_a_word_of_another_type_is_refused(kind: str, word: str) -> None:
    with pytest.raises(ValueError, match=r"expected|found"):
        from_word(parse_type(kind), word, resolve)


TRANSFER = FunctionAbi("transfer", False, (ParamAbi("to", "str"), ParamAbi("amount_micros", "int")), "None", "")
BALANCE = FunctionAbi("balance", True, (ParamAbi("account", "str"),), "int", "")
CONTRACTS = (ContractAbi("payments", 1, "", (TRANSFER, BALANCE)),)


def test_an_argument_s_error_names_its_parameter() -> None:
    with pytest.raises(InputError, match="amount_micros: expected a whole number"):
        arguments(TRANSFER, ["@bob", "many"], resolve)


def test_a_wrong_number_of_arguments_is_answered_with_the_signature() -> None:
    with pytest.raises(InputError, match=r"expected 2 arguments, found 1: transfer\(to: str, amount_micros: int\)"):
        arguments(TRANSFER, ["@bob"], resolve)


def test_a_wrong_name_is_answered_with_those_that_there_are() -> None:
    with pytest.raises(InputError, match="no contract 'paymints'; there are: payments"):
        find_function(CONTRACTS, "paymints", "transfer", view=False)
    with pytest.raises(InputError, match=r"no function 'transfers'; there are: transfer$"):
        find_function(CONTRACTS, "payments", "transfers", view=False)
    with pytest.raises(InputError, match=r"no view 'transfer' \(it is a function\); there are: balance"):
        find_function(CONTRACTS, "payments", "transfer", view=True)
    assert find_function(CONTRACTS, "payments", "balance", view=True) is BALANCE
