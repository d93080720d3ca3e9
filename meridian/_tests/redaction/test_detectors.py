"""What detectors find, and what they leave alone."""

import uuid
from random import Random

import pytest

from meridian.redaction import redactor
from meridian.redaction.detectors import DETECTORS, is_card, is_iban, is_random

FOUND = [
    ("aws_key", "key AKIAIOSFODNN7EXAMPLE."),
    ("github_token", "ghp_16C7e42F292c6912E7710c838347Ae178B4a"),
    ("slack_token", "https://hooks.slack.com/services/T000/B000/XXXXXXXX"),
    ("stripe_key", "sk_" + "test_4eC39HqLyjWDarjtT1zdp7dc"),
    ("google_key", "AIzaSyDaGmWKa4JsXZ-HjGw7ISLn_31414GewQe"),
    ("model_key", "sk-proj-Ab3dEf6hIj9lMn2pQr5tUv8x"),
    ("vendor_token", "npm_Ab3dEf6hIj9lMn2pQr5tUv8xAb3dEf6hIj9l"),
    ("jwt", "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl"),
    ("authorization", "curl -H 'X: Bearer mF_9.B5f-4.1JqM'"),
    ("authorization", "proxy: Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="),
    (
        "private_key",
        "-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXk\n-----END OPENSSH PRIVATE KEY-----",
    ),
    ("private_key", "-----BEGIN RSA PRIVATE KEY-----\nMIIEow cut off here"),
    ("url_credentials", "amqp://guest:guest@localhost:5672/"),
    ("url_credentials", "postgres://u:pa/ss@db/x"),
    ("url_credentials", "https://token@host/x"),
    ("assigned_secret", 'PASSWORD: "correct horse battery"'),
    ("assigned_secret", "Server=db;Pwd=s3cr3t;"),
    ("assigned_secret", "?access_token=12345678abc"),
    ("assigned_secret", '{"client_secret": "abcd"}'),
    ("assigned_secret", "{'password': b'hunter'}"),
    ("assigned_secret", 'password = """hunter"""'),
    ("assigned_secret", "<password>hunter</password>"),
    ("assigned_secret", "tool --db-password hunter2 --verbose"),
    ("authorization", 'Authorization: Digest username="ada", response="6629fae49393"'),
    ("vendor_token", "glpat-abcdefghij0123456789"),
    ("card", "4111.1111.1111.1111"),
    ("card", "4111_1111_1111_1111"),
    ("email", "<ada.lovelace+news@mail.example.co.uk>"),
    ("email", "jürgen@bücher.example"),
    ("iban", "GB29 NWBK 6016 1331 9268 19"),
    ("iban", "de89370400440532013000"),
    ("card", "4111-1111-1111-1111"),
    ("card", "order 17 4111111111111111 3"),
    ("card", "378282246310005"),
    ("phone", "+49 (0)30 901820"),
    ("phone", "0049 30 901820"),
    ("phone", "tel:(020) 7946 0958"),
    ("phone", "(212) 555-0143"),
    ("phone", "01.23.45.67.89"),
    ("random_token", "cursor=q8Zr2LxW0pYtB5nJ7vKc3MdF"),
]


@pytest.mark.req("N1", "X2")
@pytest.mark.parametrize(("rule", "text"), FOUND)
def test_a_detector_finds_what_it_is_for(rule: str, text: str):
    assert f"[redacted:{rule}]" in redactor().text(text)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("83.149.9.216 - -", "83.149.9.0/24 - -"),
        ("10.1.2.3/32", "10.1.2.0/24"),
        ("::ffff:203.0.113.9 x", "::/48 x"),
        ("2001:db8::8a2e:370:7334", "2001:db8::/48"),
        ("fe80::1ff:fe23:4567:890a%eth0", "fe80::/48%eth0"),
    ],
)
def test_addresses_are_reduced_to_their_network(text: str, shown: str):
    assert redactor().text(text) == shown


def test_every_detector_is_tried():
    assert {rule for rule, _ in FOUND} | {"ipv4", "ipv6"} == {detector.name for detector in DETECTORS}


LEFT_ALONE = [
    "9fceb02d0ae598e95dc970b74767f19372d61af8",  # a commit
    "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "123e4567-e89b-12d3-a456-426614174000",
    "2026-11-29T14:05:03.123456+00:00",
    "2026-11-29 14:05:03 to 2026-11-30 14:05:03",
    "29.11.2026, 29/11/2026, 11-29-2026",
    "version 3.11.7, 2.0.0rc1, 1.2.3-beta.4",
    "1764424800 1764424800123 1764424800123456789",
    "127.0.0.1 0.0.0.0 255.255.255.255 192.0.2.0/24 ::1 2001:db8::/48",
    "10:05:03 1:2:3 std::vec::Vec a::b aa:bb:cc:dd:ee:ff",
    "test_that_a_long_name_with_underscores_stays_readable",
    "ThisIsALongCamelCaseNameOfAnAbstractFactoryBean",
    "docs/how-to/write-an-edge-backend.md#what-it-must-keep",
    "pip install package@1.2.3 and @types/node@20.1.0",
    "@pytest.mark.req and git@",
    "basic understanding, bearer of news, token bucket, the secret of it",
    "password: str, token: None, secret=[redacted:secret_key], key=<str>, password=$PASSWORD",
    "https://example.com/@user/post https://example.com:8080/a@b",
    "numbers:output->end:input 1,234,567.89 0.0123456789 1e-10 50 000 000",
    "4111 1111 1111 1112 and 1234567890123456",  # no checksum, no issuer
    "DE89 3704 4400 5320 1300 01",
    "npm_config_registry_of_the_house --token-file a.txt --key value -> x",
    "lorem ipsum dolor sit amet consectetur adipiscing elit sed do eiusmod",
]


@pytest.mark.req("N1")
@pytest.mark.parametrize("text", LEFT_ALONE)
def test_what_only_looks_like_a_secret_is_left_alone(text: str):
    assert redactor().text(text) == text


def test_identifiers_drawn_by_lot_are_left_alone():
    rng = Random(11)
    for _ in range(2000):
        text = f"{uuid.UUID(int=rng.getrandbits(128))} {rng.getrandbits(160):040x} {rng.randrange(10**9)}"
        assert redactor().text(text) == text


def test_the_checksum_decides_about_cards():
    assert is_card("4111111111111111")
    assert [digit for digit in range(10) if is_card(f"411111111111111{digit}")] == [1]
    assert not is_card("1111111111111117")  # Luhn's, but nobody's


def test_the_remainder_decides_about_ibans():
    assert is_iban("GB29NWBK60161331926819")
    assert not any(is_iban(f"GB{n:02d}NWBK60161331926819") for n in range(99) if n != 29)
    assert not is_iban("XX29NWBK60161331926819")


def test_entropy_is_asked_only_of_strings_that_are_shaped_like_a_token():
    assert is_random("q8Zr2LxW0pYtB5nJ7vKc3MdF")
    assert not is_random("q8Zr2LxW0pYtB5n")  # short
    assert not is_random("aB1aB1aB1aB1aB1aB1aB1aB1")  # repeats itself
    assert not is_random("kubernetesPodTemplate2026V2Spec")
