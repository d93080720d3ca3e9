"""Policies in TOML: read as written, and refused with the line and the nearest right word."""

from pathlib import Path

import pytest

from meridian.redaction import (
    Classification,
    Drop,
    Exposed,
    Generalise,
    Hash,
    Mask,
    Policy,
    PolicyError,
    Rule,
    Truncate,
    install,
    redactor,
)
from meridian.redaction.policy_file import lines_of

WHOLE = """\
# What the shop lets out.
name = "shop"
salt = "a salt of sixteen bytes"
expose = [
    { what = "email", reason = "support works with addresses" },
    { what = "error_messages", reason = "no payload is in them" },
]

[[rule]]
name = "customers"
key = ["customer_id", "account"]
action = "hash"

[[rule]]
name = "cards"
detector = "card"
action = "mask"
keep = 4

[[rule]]
name = "amounts"
path = "order.items[*].price"
action = "generalise"
bucket = 10

[[rule]]
name = "notes"
type = ["myapp.Note"]
action = "truncate"
length = 20

[[rule]]
name = "inside"
classification = "internal"
action = "drop"
"""


def load(tmp_path: Path, text: str) -> Policy:
    path = tmp_path / "redaction.toml"
    path.write_bytes(text.encode())
    return Policy.load(path)


def refused(tmp_path: Path, text: str) -> PolicyError:
    with pytest.raises(PolicyError) as caught:
        load(tmp_path, text)
    return caught.value


def test_a_file_says_what_objects_say(tmp_path: Path):
    assert load(tmp_path, WHOLE) == Policy(
        "shop",
        (
            Rule("customers", Hash(), key=("customer_id", "account")),
            Rule("cards", Mask(4), detector=("card",)),
            Rule("amounts", Generalise(10), path=("order.items[*].price",)),
            Rule("notes", Truncate(20), type=("myapp.Note",)),
            Rule("inside", Drop(), classification=(Classification.INTERNAL,)),
        ),
        (
            Exposed("email", "support works with addresses"),
            Exposed("error_messages", "no payload is in them"),
        ),
        b"a salt of sixteen bytes",
    )


def test_an_empty_file_is_the_default_under_its_own_name(tmp_path: Path):
    assert load(tmp_path, "") == Policy("redaction")


def test_line_ends_of_windows_count_once(tmp_path: Path):
    assert load(tmp_path, WHOLE.replace("\n", "\r\n")) == load(tmp_path, WHOLE)
    assert refused(tmp_path, 'name = "a"\r\n\r\nnmae = 1\r\n').line == 3


def test_the_salt_may_come_from_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("SHOP_SALT", "sixteen bytes, at least")
    assert load(tmp_path, 'salt_env = "SHOP_SALT"').salt == b"sixteen bytes, at least"
    monkeypatch.delenv("SHOP_SALT")
    error = refused(tmp_path, '\nsalt_env = "SHOP_SALT"')
    assert str(error) == "redaction.toml:2: the environment has no variable 'SHOP_SALT'"
    monkeypatch.setenv("SHOP_SALT", "short")
    assert "short" not in str(refused(tmp_path, 'salt_env = "SHOP_SALT"')).replace("too short", "")


MISTAKES = [
    # text, line, what it says, nearest
    ('name = "a"\nrules = []\n', 2, "unknown key 'rules' in policy", "rule"),
    ("name = 3\n", 1, "'name' in policy must be a string, not <int>", None),
    ('\n[[rule]]\nname = "a"\n\nkye = "b"\naction = "drop"\n', 5, "unknown key 'kye' in rule 'a'", "key"),
    ('[[rule]]\nname = "a"\nkey = "b"\naction = "mosk"\n', 4, "unknown action 'mosk' in rule 'a'", "mask"),
    ('[[rule]]\nname = "a"\nkey = "b"\n', 1, "rule 'a' lacks the key 'action'", None),
    ('[[rule]]\nkey = "b"\naction = "drop"\n', 1, "rule 1 lacks the key 'name'", None),
    ('[[rule]]\nname = "a"\naction = "drop"\n', 1, "rule 'a' matches nothing", None),
    ('[[rule]]\nname = "a"\nkey = ["b", 2]\naction = "drop"\n', 3, "an array of strings", None),
    (
        '[[rule]]\nname = "a"\ndetector = [\n  "card",\n  "e-mail",\n]\naction = "drop"\n',
        5,
        "unknown detector 'e-mail' in rule 'a'",
        "email",
    ),
    ('[[rule]]\nname = "a"\nclassification = "secrets"\naction = "drop"\n', 3, "'secrets'", "secret"),
    ('[[rule]]\nname = "a"\npath = "a..b"\naction = "drop"\n', 3, "malformed path", None),
    ('[[rule]]\nname = "a"\nkey = "b"\naction = "hash"\n', 4, "hashes, and the policy has no salt", None),
    ('[[rule]]\nname = "a"\nkey = "b"\naction = "mask"\nkeep = 99\n', 5, "keeps 99", None),
    (
        '[[rule]]\nname = "a"\nkey = "b"\naction = "mask"\nkeep = "4"\n',
        5,
        "must be a number, not <str>",
        None,
    ),
    (
        '[[rule]]\nname = "a"\nkey = "b"\naction = "mask"\nkeep = true\n',
        5,
        "must be a number, not <bool>",
        None,
    ),
    (
        '[[rule]]\nname = "a"\nkey = "b"\naction = "drop"\nkeep = 4\n',
        5,
        "'keep' in rule 'a' belongs to 'mask'",
        None,
    ),
    ('[[rule]]\nname = "a"\nkey = "b"\naction = "truncate"\nlength = 0\n', 5, "truncates to 0", None),
    ('[[rule]]\nname = "a"\nkey = "b"\naction = "generalise"\nbucket = -1\n', 5, "buckets of -1", None),
    (
        '[[rule]]\nname = "a"\nkey = "b"\naction = "drop"\n[[rule]]\nname = "a"\nkey = "c"\naction = "drop"\n',
        6,
        "two rules are called 'a'",
        None,
    ),
    ('[[rule]]\nname = "email"\nkey = "b"\naction = "drop"\n', 2, "two rules are called 'email'", None),
    ('[rule]\nname = "a"\n', 1, "'rule' must be an array of tables", None),
    ("expose = [3]\n", 1, "expose 1 must be a table, not <int>", None),
    (
        'expose = [\n  { what = "emails", reason = "r" },\n]\n',
        2,
        "nothing called 'emails' can be exposed",
        "email",
    ),
    ('expose = [\n\n  { what = "email" },\n]\n', 3, "exposure 1 lacks the key 'reason'", None),
    ('[[expose]]\nwhat = "email"\nreason = ""\n', 3, "needs a reason", None),
    ('[[expose]]\nwhat = "email"\nreasons = "x"\n', 3, "unknown key 'reasons' in exposure 1", "reason"),
    ('name = "a"\n\nkey = \n', 3, "isn't TOML", None),
    ('name = "a\n', 1, "isn't TOML", None),
    ('name = "a"\nname = "b"\n', 2, "isn't TOML", None),
    ('salt = "short"\n', 1, "too short", None),
]


@pytest.mark.req("X2")
@pytest.mark.parametrize(("text", "line", "says", "near"), MISTAKES)
def test_a_mistake_is_refused_with_its_line_and_the_nearest_right_word(
    tmp_path: Path, text: str, line: int, says: str, near: str | None
):
    error = refused(tmp_path, text)
    assert (error.file, error.line, error.nearest) == ("redaction.toml", line, near)
    assert str(error).startswith(f"redaction.toml:{line}: ")
    assert says in str(error)
    if near is not None:
        assert str(error).endswith(f"; did you mean {near!r}?")


@pytest.mark.req("X2")
@pytest.mark.parametrize("text", [text for text, *_ in MISTAKES])
def test_a_mistake_leaves_the_policy_in_force_as_it_was(tmp_path: Path, text: str):
    before = Policy("strict", (Rule("ours", Drop(), key=("customer",)),))
    install(before)
    with pytest.raises(PolicyError):
        install(
            load(tmp_path, 'expose = [{ what = "payloads", reason = "r" }]\n' * (text[:6] != "expose") + text)
        )
    assert redactor().policy is before
    assert redactor().data({"customer": 1, "payload": 2}) == {
        "customer": "[redacted:ours]",
        "payload": "[redacted:payload_key]",
    }


@pytest.mark.req("X2")
def test_a_value_under_a_wrong_key_is_not_shown(tmp_path: Path):
    text = str(refused(tmp_path, 'slat = "a salt that went astray"\n'))
    assert text == "redaction.toml:1: unknown key 'slat' in policy; did you mean 'salt'?"


def test_bytes_that_are_no_text_are_refused_with_their_line(tmp_path: Path):
    path = tmp_path / "p.toml"
    path.write_bytes(b'name = "a"\n# \xff\n')
    with pytest.raises(PolicyError, match=r"p\.toml:2: isn't UTF-8"):
        Policy.load(path)


def test_a_file_that_is_no_policy_at_all_is_refused_by_its_size(tmp_path: Path):
    path = tmp_path / "p.toml"
    path.write_bytes(b"#" * 1_000_001)
    with pytest.raises(PolicyError, match="larger than"):
        Policy.load(path)


def test_a_file_that_is_not_there_is_an_os_error(tmp_path: Path):
    with pytest.raises(FileNotFoundError):
        Policy.load(tmp_path / "none.toml")


def test_lines_are_found_in_whatever_form_a_value_is_written():
    text = '''\
a = """
b = 1
""" # c = 2
"quoted key".'d' = \'\'\'
]\'\'\'
e = { f = [1,
  2, { g = "}" }], h = 2026-11-29T10:00:00Z }
[[t]] # one
x.y = [ # [
  "#]", 5,
]
[[t.u]]
z = -1.5e3
[[t]]
[t.v]
w = true
'''
    import tomllib

    tomllib.loads(text)
    found = lines_of(text)
    assert {path: line for path, line in found.items() if not isinstance(path[-1], int)} == {
        ("a",): 1,
        ("quoted key", "d"): 4,
        ("e",): 6,
        ("e", "f"): 6,
        ("e", "f", 2, "g"): 7,
        ("e", "h"): 7,
        ("t", 0, "x", "y"): 9,
        ("t", 0, "u", 0, "z"): 13,
        ("t", 1, "v"): 15,
        ("t", 1, "v", "w"): 16,
    }
    assert (found["t", 0], found["t", 1], found["e", "f", 1]) == (8, 14, 7)
