"""What names, ports and types on the command line mean, and what is wrong with them."""

import collections.abc
import datetime
import decimal
import typing

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meridian.scaffolding import parse_ports, snake_case
from meridian.scaffolding.parsers.names import check_class_name, package_parts
from meridian.scaffolding.parsers.types import resolve_types

pytestmark = pytest.mark.req("V1", "N1.4")


# ---- names ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "module"),
    [
        ("Filter", "filter"),
        ("OrderFilter", "order_filter"),
        ("HTTPClient", "h_t_t_p_client"),
        ("Node2Way", "node2_way"),
        ("already_snake", "already_snake"),
        ("", ""),
    ],
)
def test_snake_case_puts_an_underscore_before_every_capital_but_the_first(name, module):
    assert snake_case(name) == module


@pytest.mark.parametrize("name", ["Filter", "HTTPClient", "X", "V2", "TestNode"])
def test_pascal_case_identifiers_are_names_of_classes(name):
    check_class_name(name)


@pytest.mark.parametrize(
    "name",
    ["", "filter", "order_filter", "Order_Filter", "2Way", "Order Filter", "Order-Filter", "Ordnung.X", "../X",
     "Größe", "Filter\n", "X)(Y", "None", "True"],
)  # fmt: skip
def test_what_is_no_pascal_case_identifier_is_refused(name):
    with pytest.raises(ValueError, match="is not a PascalCase identifier"):
        check_class_name(name)


@pytest.mark.parametrize(("name", "module"), [("Class", "class"), ("Async", "async"), ("Import", "import")])
def test_a_name_whose_module_would_be_a_keyword_is_refused(name, module):
    with pytest.raises(
        ValueError, match=rf"no module can be called '{module}', which is a keyword.*'{name}Node'"
    ):
        check_class_name(name)


def test_a_name_that_the_module_imports_is_refused():
    with pytest.raises(ValueError, match="'Message' is a name that its module imports"):
        check_class_name("Message", {"Message"})


def test_a_package_is_identifiers_with_dots_between():
    assert package_parts("nodes") == ("nodes",)
    assert package_parts("my_app.nodes") == ("my_app", "nodes")


@pytest.mark.parametrize(
    "package",
    [
        "",
        ".",
        "..",
        "../outside",
        "a/b",
        "/tmp",
        "a..b",
        ".a",
        "a.",
        "a b",
        "a\\b",
        "C:x",
        "~",
        "a.class",
        "a-b",
        "1a",
    ],
)
def test_a_package_that_leads_elsewhere_or_cannot_be_imported_is_refused(package):
    with pytest.raises(ValueError, match=r"give identifiers with dots between"):
        package_parts(package)


def test_a_package_that_would_be_hidden_by_the_standard_library_is_refused():
    with pytest.raises(ValueError, match="'json' is a module of the standard library"):
        package_parts("json.nodes")


# ---- ports ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "ports"),
    [
        ("", {}),
        ("  ", {}),
        ("a:int", {"a": "int"}),
        (" a : int ,b:str ", {"a": "int", "b": "str"}),
        ("a:int,b:dict[str, int]", {"a": "int", "b": "dict[str, int]"}),
        ("a:Callable[[int, str], bool],b:(int, str)", {"a": "Callable[[int, str], bool]", "b": "(int, str)"}),
        ("a:{x, y}, b:int", {"a": "{x, y}", "b": "int"}),
        ("a:Literal['x,y', ']'],b:int", {"a": "Literal['x,y', ']']", "b": "int"}),
        ("a:int,", {"a": "int"}),
        ("in:int", {"in": "int"}),
    ],
)
def test_ports_are_split_at_commas_outside_of_brackets_and_quotes(text, ports):
    assert parse_ports(text) == ports


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a", "'a': write name:type"),
        ("a:int,b", "'b': write name:type"),
        ("a:", "'a:': write name:type"),
        (":int", "':int': write name:type"),
        (",a:int", "'': write name:type"),
        ("a:int,,b:int", "'': write name:type"),
        ("a b:int", "'a b' is no identifier"),
        ('a"b:int', "is missing"),
        ("a-b:int", "'a-b' is no identifier"),
        ("a:int,a:str", "there is a port 'a' already"),
        ("a:dict[str", "']' is missing"),
        ("a:dict[str)", "'[)]' closes nothing"),
        ("a:int]", "']' closes nothing"),
        ("a:Literal['x", '"\'" is missing'),
    ],
)
def test_a_bad_definition_is_named_with_what_is_wrong_about_it(text, said):
    with pytest.raises(ValueError, match=f"^Invalid port definition .*{said}"):
        parse_ports(text)


NAMES = st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,12}", fullmatch=True)
TYPES = st.recursive(
    st.sampled_from(["int", "str", "float", "bytes", "Any", "None", "datetime", "decimal.Decimal", "object"]),
    lambda inner: st.one_of(
        st.builds("list[{}]".format, inner),
        st.builds("dict[str, {}]".format, inner),
        st.builds("tuple[{}, {}]".format, inner, inner),
        st.builds("Sequence[{}]".format, inner),
        st.builds("Optional[{}]".format, inner),
        st.builds("Callable[[{}], {}]".format, inner, inner),
    ),
    max_leaves=4,
)
PORTS = st.dictionaries(NAMES, TYPES, max_size=5)


@given(PORTS, st.sampled_from([",", ", ", " , "]), st.sampled_from([":", ": ", " : "]))
def test_any_valid_ports_are_read_as_they_were_written(ports, comma, colon):
    assert parse_ports(comma.join(f"{name}{colon}{text}" for name, text in ports.items())) == ports


@given(st.text(alphabet="ab:,[](){}'\" \n", max_size=30))
def test_any_text_is_read_or_refused_in_words(text):
    try:
        ports = parse_ports(text)
    except ValueError as error:
        refusal = str(error)
    else:
        refusal = "Invalid port definition"
        assert all(name.isidentifier() and type_ == type_.strip() != "" for name, type_ in ports.items())
    assert refusal.startswith("Invalid port definition")


# ---- types ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "value", "names", "modules"),
    [
        ("int", int, {}, set()),
        ("None", None, {}, set()),
        ("Any", typing.Any, {"typing": {"Any"}}, set()),
        ("list[int]", list[int], {}, set()),
        ("List[int]", typing.List[int], {"typing": {"List"}}, set()),  # noqa: UP006 - what v1 users write
        ("int | None", int | None, {}, set()),
        ("Optional[int]", typing.Optional[int], {"typing": {"Optional"}}, set()),  # noqa: UP045 - as above
        ("Literal['a', -1]", typing.Literal["a", -1], {"typing": {"Literal"}}, set()),
        ("tuple[int, ...]", tuple[int, ...], {}, set()),
        ("(int, str)", (int, str), {}, set()),
        ("datetime", datetime.datetime, {"datetime": {"datetime"}}, set()),
        ("datetime.datetime", datetime.datetime, {}, {"datetime"}),
        ("decimal.Decimal", decimal.Decimal, {}, {"decimal"}),
        ("collections.abc.Sequence[int]", collections.abc.Sequence[int], {}, {"collections.abc"}),
        ("dict[str, list[datetime]]", dict[str, list[datetime.datetime]], {"datetime": {"datetime"}}, set()),
        ("Callable[[int], str]", collections.abc.Callable[[int], str], {"collections.abc": {"Callable"}}, set()),
    ],
)  # fmt: skip
def test_a_type_says_what_must_be_imported(text, value, names, modules):
    found = resolve_types({"a": text})
    assert found.values[text] == value
    assert found.texts[text] == text
    assert (found.names, found.modules) == (names, modules)


def test_the_type_of_a_module_that_exists_is_taken_as_it_is_without_importing_it(project):
    (project / "shop.py").write_text("raise SystemExit\n", encoding="utf-8")
    found = resolve_types({"a": "list[shop.Order]"}, [str(project)])
    assert found.modules == {"shop"}
    with pytest.raises(ValueError, match=r"port 'a': unknown type 'shp\.Order': there is no module 'shp'"):
        resolve_types({"a": "shp.Order"}, [str(project)])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("Order", "unknown type 'Order': use a builtin type"),
        ("print", "unknown type 'print'"),
        ("datetime.datetimes", "there is no 'datetime.datetimes'"),
        ("os.path", "can't be used as a schema"),
        ("list[", "is not a type: write one as in an annotation"),
        ("int str", "is not a type"),
        ("", "is not a type"),
        ("x := int", "is not a type"),
        ("lambda: int", "use names, brackets, | and literals only"),
        ("__import__('os').system('true')", "use names, brackets, | and literals only"),
        ("[int for _ in ()]", "use names, brackets, | and literals only"),
        ("int if 1 else str", "use names, brackets, | and literals only"),
        ("int + str", "use names, brackets, | and literals only"),
        ("int[str]", "is not a type"),
        ("'int'", "is a string"),
        ("5", "can't be used as a schema"),
        ("list['int']", "is a string"),
        ("f'{int}'", "use names, brackets, | and literals only"),
        ("int), __import__('os'", "is not a type"),
    ],
)
def test_what_is_no_type_is_refused_and_the_port_is_named(text, said):
    with pytest.raises(ValueError, match=r"^port 'a': ") as caught:
        resolve_types({"a": text})
    assert said in str(caught.value)


def test_a_name_and_a_module_of_one_name_are_refused():
    with pytest.raises(ValueError, match=r"write 'datetime\.datetime' for both"):
        resolve_types({"a": "datetime", "b": "datetime.date"})


def test_a_type_with_a_line_break_or_a_comment_is_written_anew():
    assert resolve_types({"a": "dict[str,\n int]"}).texts == {"dict[str,\n int]": "dict[str, int]"}
    assert resolve_types({"a": "int # and more"}).texts == {"int # and more": "int"}
    assert resolve_types({"a": "Literal['#']"}).texts == {"Literal['#']": "Literal['#']"}
