"""A bundle that may come from anybody is checked before it is believed; the first wrong member is named."""

import hashlib
import io
import json
import zipfile

import pytest

from meridian.diagnostics import BundleError, Request, collect, open_bundle, read_bundle
from meridian.diagnostics import read as read_module
from meridian.diagnostics.archive import as_json, pack
from meridian.diagnostics.manifest import MANIFEST

pytestmark = pytest.mark.req("N1", "N1.1", "X2")

TOPOLOGY = as_json({"graphs": []})


@pytest.fixture(scope="module")
def content():
    return collect(Request(), wall_s=lambda: 0.0).content


def manifest(there, **changes):
    """A manifest that fits some members."""
    return {
        "schema_version": "1.0",
        "made_by": "meridian 2.0.0",
        "made_at": "1970-01-01T00:00:00Z",
        "members": [
            {"name": name, "means": "x", "size": len(data), "sha256": hashlib.sha256(data).hexdigest()}
            for name, data in there.items()
        ],
        "missing": [],
        "policy": "default",
        "exposes": [],
        "scrubbed": {},
        "varies": [],
        **changes,
    }


def made(there=None, **changes):
    there = {"topology.json": TOPOLOGY} if there is None else there
    return pack({MANIFEST: as_json(manifest(there, **changes)), **there})


def raw(*members, comment=b"", before=b""):
    """A zip file as somebody else may make it."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members:
            archive.writestr(name, data)
        archive.comment = comment
    return before + out.getvalue()


def test_a_bundle_that_was_just_made_is_whole(content, tmp_path):
    (tmp_path / "b.zip").write_bytes(content)
    opened = open_bundle(tmp_path / "b.zip")
    assert [each.name for each in opened.manifest.members] == ["configuration.json", "environment.json"]
    assert opened.data("environment.json")["meridian"]
    assert opened.data("topology.json") is None
    with pytest.raises(KeyError):
        opened.member("topology.json")


def test_a_byte_that_was_flipped_in_a_member_is_noticed(content):
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        infos = archive.infolist()
    for info in infos:
        begin = info.header_offset + 30 + len(info.filename)
        for at in (begin, begin + info.compress_size // 2):
            damaged = bytearray(content)
            damaged[at] ^= 0x55
            with pytest.raises(BundleError) as caught:
                read_bundle(bytes(damaged))
            assert caught.value.member == info.filename


@pytest.mark.parametrize("size", [0, 10, 400, -30, -1])
def test_a_bundle_that_was_cut_short_is_none(content, size):
    with pytest.raises(BundleError):
        read_bundle(content[:size])


@pytest.mark.parametrize(
    ("wrong", "member", "text"),
    [
        (b"no zip at all", None, "no zip file"),
        (raw(), MANIFEST, "first member"),
        (raw(("topology.json", b"{}")), MANIFEST, "first member"),
        (raw((MANIFEST, b"{}"), ("../evil.json", b"")), "'../evil.json'", "none that a bundle may have"),
        (raw((MANIFEST, b"{}"), ("/etc/x.json", b"")), "'/etc/x.json'", "none that a bundle may have"),
        (raw((MANIFEST, b"{}"), ("a\\b.json", b"")), r"'a\\b.json'", "none that a bundle may have"),
        (raw((MANIFEST, b"{}"), ("C:x.json", b"")), "'C:x.json'", "none that a bundle may have"),
        (raw((MANIFEST, b"{}"), ("\x1b[2J.json", b"")), r"'\x1b[2J.json'", "none that a bundle may have"),
        (raw((MANIFEST, b"{}"), comment=b"hello"), None, "a comment"),
        (raw((MANIFEST, b"{}"), before=b"#!/bin/sh\n"), None, "before the first member"),
        (raw((MANIFEST, b"{}")), MANIFEST, "schema_version is missing"),
        (raw((MANIFEST, b"[]")), MANIFEST, "a list is there"),
        (raw((MANIFEST, b"{")), MANIFEST, "no JSON"),
        (raw((MANIFEST, b"[" * 100_000)), MANIFEST, "no JSON"),
        (made(schema_version="2.0"), MANIFEST, "has schema 2.0"),
        (made(schema_version="one"), MANIFEST, "MAJOR.MINOR"),
        (made(made_at=3), MANIFEST, "made_at is not what it should be"),
        (made(scrubbed={"email": -1}), MANIFEST, "scrubbed"),
        (made(varies=[1]), MANIFEST, "varies"),
        (made(members=[{"name": "topology.json"}]), MANIFEST, "means is missing"),
        (made(members=[]), "topology.json", "isn't in the manifest"),
        (made({"notes.txt": b""}), "notes.txt", "none that a bundle may have"),
        (
            made(missing=[{"name": "topology.json", "reason": "", "failed": True}]),
            MANIFEST,
            "names a member twice",
        ),
    ],
    ids=range(23),
)  # fmt: skip
def test_what_is_wrong_is_said_with_the_first_member_that_is(wrong, member, text):
    with pytest.raises(BundleError) as caught:
        read_bundle(wrong)
    assert text in str(caught.value)
    assert caught.value.member == member
    assert str(caught.value).isprintable()


def test_a_member_that_is_there_twice_is_refused():
    with pytest.warns(UserWarning, match="Duplicate name"):
        wrong = raw((MANIFEST, b"{}"), ("topology.json", b"1"), ("topology.json", b"2"))
    with pytest.raises(BundleError, match="there twice"):
        read_bundle(wrong)


def test_a_member_that_the_manifest_promises_has_to_be_there():
    wrong = pack({MANIFEST: as_json(manifest({"topology.json": TOPOLOGY}))})
    with pytest.raises(BundleError, match="not in the bundle"):
        read_bundle(wrong)


@pytest.mark.parametrize(("other", "text"), [(b"[]\n", "bytes instead of"), (TOPOLOGY[::-1], "SHA-256")])
def test_a_member_that_was_replaced_is_noticed(other, text):
    wrong = pack({MANIFEST: as_json(manifest({"topology.json": TOPOLOGY})), "topology.json": other})
    with pytest.raises(BundleError, match=text) as caught:
        read_bundle(wrong)
    assert caught.value.member == "topology.json"


def test_a_member_that_unpacks_to_more_than_it_may_is_not_unpacked(monkeypatch):
    monkeypatch.setattr(read_module, "MAX_MEMBER", 100_000)
    bomb = made({"topology.json": b"0" * 1_000_000})
    assert len(bomb) < 5_000
    with pytest.raises(BundleError, match="longer than it may be") as caught:
        read_bundle(bomb)
    assert caught.value.member == "topology.json"


def test_members_that_are_too_long_together_are_refused(monkeypatch):
    monkeypatch.setattr(read_module, "MAX_FILE", 20_000)
    members = {"topology.json": b"0" * 15_000, "issues.json": b"0" * 15_000}
    with pytest.raises(BundleError, match="longer than it may be"):
        read_bundle(made(members))
    monkeypatch.setattr(read_module, "MAX_FILE", 100)
    with pytest.raises(BundleError, match="longer than 100 bytes"):
        read_bundle(made())


def test_too_many_members_are_refused():
    wrong = raw((MANIFEST, b"{}"), *((f"m{i}.json", b"") for i in range(100)))
    with pytest.raises(BundleError, match="101 members"):
        read_bundle(wrong)


def test_an_encrypted_member_and_an_unknown_compression_are_refused():
    plain = bytearray(made())
    for at in (plain.index(b"PK\x03\x04") + 6, plain.index(b"PK\x01\x02") + 8):
        plain[at] |= 1
    with pytest.raises(BundleError, match="encrypted"):
        read_bundle(bytes(plain))
    plain = bytearray(made())
    for at in (plain.index(b"PK\x03\x04") + 8, plain.index(b"PK\x01\x02") + 10):
        plain[at] = 97
    with pytest.raises(BundleError, match="damaged"):
        read_bundle(bytes(plain))


def test_a_bundle_of_a_later_minor_version_is_read_with_what_it_has_more():
    later = made(
        {"topology.json": TOPOLOGY, "traces.json": b"{}"}, schema_version="1.7", more={"not": "known"}
    )
    opened = read_bundle(later)
    assert opened.manifest.schema_version == "1.7"
    assert opened.member("traces.json") == b"{}"


def test_a_member_that_is_no_json_is_said_to_be_none():
    opened = read_bundle(made({"topology.json": b"{"}))
    with pytest.raises(BundleError, match=r"topology\.json is no JSON"):
        opened.data("topology.json")


def test_equal_members_make_equal_bytes_whatever_their_order_and_the_manifest_is_first():
    members = {"topology.json": b"1", MANIFEST: b"2", "events.json": b"3"}
    packed = pack(members)
    assert pack(dict(reversed(members.items()))) == packed
    with zipfile.ZipFile(io.BytesIO(packed)) as archive:
        infos = archive.infolist()
    assert [info.filename for info in infos] == [MANIFEST, "events.json", "topology.json"]
    assert {info.date_time for info in infos} == {(1980, 1, 1, 0, 0, 0)}


def test_json_of_a_bundle_has_sorted_keys_and_survives_any_text():
    assert as_json({"b": 1, "a": "\udcff"}) == b'{\n "a": "\\udcff",\n "b": 1\n}\n'
    assert json.loads(as_json({"a": "ä\n"})) == {"a": "ä\n"}
