"""Canaries: made-up secrets and personal data, the shapes they hide in, and the hunter that looks for survivors.

Everything is drawn from a seed. Nothing here was ever a secret: keys are random, cards and IBANs have right checksums and
wrong owners. Whoever builds a new sink pushes `corpus` through it, in every shape, and gives what came out to a `Hunter`.
"""

import base64
import json
import random
import string
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from urllib.parse import quote

SEED = 20261129
SIZE = 500

ALNUM = string.ascii_letters + string.digits
UPPER = string.ascii_uppercase + string.digits
LOWER = string.ascii_lowercase + string.digits


@dataclass(frozen=True)
class Canary:
    """One secret.

    Attributes:
        kind: What it is.
        text: How it stands in a text, with what belongs to it.
        secrets: What must not survive, whole or in parts that are long enough to tell.
    """

    kind: str
    text: str
    secrets: tuple[str, ...]


def _token(rng: random.Random, size: int, alphabet: str = ALNUM) -> str:
    # A real token has letters and digits; one in a million without is no use here.
    made = [rng.choice(alphabet) for _ in range(size)]
    made[size // 3], made[size // 2] = rng.choice(string.digits), rng.choice(string.digits)
    if set(string.ascii_uppercase) <= set(alphabet) and set(string.ascii_lowercase) <= set(alphabet):
        made[1], made[size // 4 + 1] = rng.choice(string.ascii_uppercase), rng.choice(string.ascii_lowercase)
        made[-1], made[-2] = rng.choice(string.ascii_uppercase), rng.choice(string.ascii_lowercase)
    return "".join(made)


def _secret(kind: str, secret: str, text: str | None = None) -> Canary:
    half = len(secret) // 2
    parts = (secret[:half], secret[half:]) if half >= 10 else ()
    return Canary(kind, text or secret, (secret, *parts))


def _prefixed(kind: str, prefix: str, size: int, alphabet: str = ALNUM) -> Callable[[random.Random], Canary]:
    def make(rng: random.Random) -> Canary:
        tail = _token(rng, size, alphabet)
        return Canary(kind, prefix + tail, (prefix + tail, tail[: size // 2 + 2], tail[size // 2 - 2 :]))

    return make


def _within(kind: str, form: str, size: int, alphabet: str = ALNUM) -> Callable[[random.Random], Canary]:
    def make(rng: random.Random) -> Canary:
        secret = _token(rng, size, alphabet)
        return _secret(kind, secret, form.format(secret))

    return make


def _jwt(rng: random.Random) -> Canary:
    def part(content: dict[str, object]) -> str:
        return base64.urlsafe_b64encode(json.dumps(content).encode()).decode().rstrip("=")

    head, body = part({"alg": "HS256", "typ": "JWT"}), part({"sub": _token(rng, 12), "iat": 1_700_000_000})
    signature = _token(rng, 43, ALNUM + "-_")
    return Canary("jwt", f"{head}.{body}.{signature}", (body, signature))


def _pem(rng: random.Random) -> Canary:
    lines = [_token(rng, 64, ALNUM + "+/") for _ in range(rng.randint(3, 8))]
    kind = rng.choice(("RSA ", "EC ", "OPENSSH ", "ENCRYPTED ", ""))
    text = f"-----BEGIN {kind}PRIVATE KEY-----\n" + "\n".join(lines) + f"\n-----END {kind}PRIVATE KEY-----"
    return Canary("private_key", text, tuple(lines))


def _basic(rng: random.Random) -> Canary:
    user, password = _token(rng, 6), _token(rng, 14)
    value = base64.b64encode(f"{user}:{password}".encode()).decode()
    return Canary("basic", f"Authorization: Basic {value}", (value, password))


def _url(rng: random.Random) -> Canary:
    scheme = rng.choice(("postgres", "postgresql+asyncpg", "redis", "mongodb+srv", "amqp", "https", "mysql"))
    user, password = "svc" + _token(rng, 5, LOWER), _token(rng, 12, ALNUM + "!$_-")
    if rng.random() < 0.3:
        password = password[:4] + "@" + password[4:]
    text = f"{scheme}://{user}:{password}@db{rng.randint(1, 9)}.internal:5432/app?x=1"
    return Canary("url", text, (password, f"{user}:"))


def _email(rng: random.Random) -> Canary:
    local = _token(rng, 9, LOWER) + rng.choice(("", ".", "-", "_")) + _token(rng, 4, LOWER) + "z"
    tag = rng.choice(("", "", "+news"))
    domain = rng.choice(("example.com", "mail.example.co.uk", "exämple.de", "example-shop.org"))
    return Canary("email", f"{local}{tag}@{domain}", (local,))


def _phone(rng: random.Random) -> Canary:
    def d(size: int) -> str:
        return "".join(rng.choice("23456789") for _ in range(size))

    form = rng.choice(
        (
            "+{0} {1} {2} {3}",
            "+{0}-{1}-{2}-{3}",
            "+{0} (0){1} {2}{3}",
            "+{0}{1}{2}{3}",
            "00{0} {1} {2} {3}",
            "0{1} {2} {3}",
            "0{1}/{2}{3}",
            "(0{1}) {2}{3}",
            "0{1}-{2}{3}",
            "({5}) {4}-{3}",
            "{5}-{4}-{3}",
            "{5}.{4}.{3}",
            "1-{5}-{4}-{3}",
        )
    )
    made = form.format(rng.choice(("49", "44", "33", "1", "351")), d(3), d(4), d(4), d(3), d(3))
    return Canary("phone", made, (made,))


def _luhn(digits: str) -> str:
    total = 0
    for place, digit in enumerate(reversed(digits)):
        value = int(digit) * (2 - place % 2)
        total += value - 9 * (value > 9)
    return str(-total % 10)


def _card(rng: random.Random) -> Canary:
    prefix, size = rng.choice(
        (("4", 16), ("51", 16), ("55", 16), ("2221", 16), ("34", 15), ("37", 15), ("6011", 16))
    )
    digits = prefix + "".join(rng.choice(string.digits) for _ in range(size - len(prefix) - 1))
    digits += _luhn(digits)
    separator = rng.choice(("", " ", "-"))
    groups = (
        [digits[:4], digits[4:10], digits[10:]]
        if size == 15
        else [digits[i : i + 4] for i in range(0, size, 4)]
    )
    text = separator.join(groups)
    return Canary("card", text, tuple({text, digits}))


def _iban(rng: random.Random) -> Canary:
    country, size = rng.choice((("DE", 22), ("GB", 22), ("FR", 27), ("NL", 18), ("ES", 24), ("CH", 21)))
    bank = "".join(rng.choice(string.ascii_uppercase) for _ in range(4)) if country in ("GB", "NL") else ""
    account = bank + "".join(rng.choice(string.digits) for _ in range(size - 4 - len(bank)))
    number = int("".join(str(int(c, 36)) for c in account + country + "00"))
    plain = f"{country}{98 - number % 97:02d}{account}"
    text = " ".join(plain[i : i + 4] for i in range(0, size, 4)) if rng.random() < 0.6 else plain
    return Canary("iban", text, tuple({text, plain}))


def _ipv4(rng: random.Random) -> Canary:
    text = ".".join(str(rng.randint(11, 120)) for _ in range(3)) + f".{rng.randint(100, 254)}"
    return Canary("ipv4", text, (text,))


def _ipv6(rng: random.Random) -> Canary:
    groups = [f"{rng.randint(0x1000, 0xFFFF):x}" for _ in range(rng.choice((3, 4)))]
    text = f"2001:db8:{groups[0]}:" + ":".join(groups[1:]) + f"::{rng.randint(0x1000, 0xFFFF):x}"
    return Canary("ipv6", text, (text,))


MAKERS: tuple[Callable[[random.Random], Canary], ...] = (
    _prefixed("aws_key", "AKIA", 16, UPPER),
    _prefixed("aws_session_key", "ASIA", 16, UPPER),
    _within("aws_secret", "aws_secret_access_key = {}", 40, ALNUM + "+/"),
    _prefixed("github", "ghp_", 36),
    _prefixed("github_server", "ghs_", 36),
    _prefixed("github_fine", "github_pat_", 82, ALNUM + "_"),
    _prefixed("gitlab", "glpat-", 20),
    _prefixed("slack", "xoxb-", 48),
    _within("slack_hook", "https://hooks.slack.com/services/T0AAAAAAA/B0AAAAAAA/{}", 24),
    _prefixed("stripe", "sk_" + "live_", 24),
    _prefixed("stripe_restricted", "rk_" + "test_", 24),
    _prefixed("stripe_hook", "whsec_", 32),
    _prefixed("google", "AIza", 35, ALNUM + "_-"),
    _prefixed("google_oauth", "ya29.", 60, ALNUM + "_-"),
    _prefixed("model", "sk-", 48),
    _prefixed("model_project", "sk-proj-", 48, ALNUM + "_-"),
    _prefixed("npm", "npm_", 36),
    _within("bearer", "Authorization: Bearer {}", 40, ALNUM + "-._~"),
    _within("password", "password={}", 12),
    _within("password_json", '{{"user": "u", "password": "{}"}}', 14),
    _within("password_sentence", "login failed, passphrase: '{} and more'", 11),
    _within("ado", "Server=db;Database=app;User Id=app;Password={};Encrypt=yes", 16, ALNUM + "!#%"),
    _within("azure", "DefaultEndpointsProtocol=https;AccountKey={}==;EndpointSuffix=x", 86, ALNUM + "+/"),
    _within("query", "GET /cb?state=1&access_token={}&x=2", 32),
    _within("random", "cursor {}", 44),
    _jwt,
    _pem,
    _basic,
    _url,
    _email,
    _email,
    _phone,
    _phone,
    _card,
    _card,
    _iban,
    _ipv4,
    _ipv6,
)


def corpus(size: int = SIZE, seed: int = SEED) -> list[Canary]:
    """Return so many canaries, all kinds in turn; the same ones for the same seed."""
    rng = random.Random(seed)
    made: list[Canary] = []
    taken: set[str] = set()
    while len(made) < size:
        canary = MAKERS[len(made) % len(MAKERS)](rng)
        if taken.isdisjoint(canary.secrets):
            taken.update(canary.secrets)
            made.append(canary)
    return made


# --- shapes ------------------------------------------------------------------------------------------------------------


class Revealing:
    """An object whose repr shows what it holds."""

    def __init__(self, text: str) -> None:
        self.text = text

    def __repr__(self) -> str:
        return f"Revealing({self.text!r})"

    __str__ = __repr__


@dataclass
class Order:
    """A payload as users write them."""

    number: int
    note: str


def failing(text: str) -> Exception:
    """Return an exception that shows a text in every place exceptions have: text, note, cause, context, group."""
    try:
        try:
            raise KeyError(text)
        except KeyError as first:
            second = ValueError(f"can't parse {text}")
            second.add_note(f"seen: {text}")
            raise RuntimeError(text, {"given": text}) from ExceptionGroup(text, [second, first])
    except RuntimeError as error:
        return error


SHAPES: dict[str, Callable[[str], object]] = {
    "plain": lambda text: text,
    "sentence": lambda text: f"the service said ({text}), then closed",
    "quoted": lambda text: repr(f"x\n{text}\ty"),
    "json": lambda text: json.dumps({"line": f"\n{text}\n"}),
    "nested": lambda text: {"a": [1, {"b": ("c", [text])}]},
    "key": lambda text: {text: 1, "n": {text: {text: 2}}},
    "named": lambda text: {"apiKey": text, "user": {"e-mail": text}},
    "exception": lambda text: failing(text),
    "object": lambda text: Revealing(text),
    "dataclass": lambda text: Order(1, text),
    "bytes": lambda text: text.encode(),
    "utf16": lambda text: text.encode("utf-16-le"),
    "set": lambda text: {text, "b"},
    "base64": lambda text: base64.b64encode(text.encode()).decode(),
    "base64 in text": lambda text: f"body={base64.b64encode(f'id 7: {text}!'.encode()).decode()}; end",
    "base64 twice": lambda text: base64.b64encode(base64.b64encode(text.encode())).decode(),
    "base64 for urls": lambda text: base64.urlsafe_b64encode(f"?{text}?".encode()).decode().rstrip("="),
    "base64 of utf-16": lambda text: base64.b64encode(text.encode("utf-16-le")).decode(),
    "mail body": lambda text: base64.encodebytes(
        f"Dear all, this is confidential: {text} -- yours".encode()
    ).decode(),
    "hex": lambda text: text.encode().hex(),
    "hex in text": lambda text: f"0x{text.encode().hex().upper()}",
    "percent": lambda text: f"/path?q={quote(text, safe='')}&page=1",
    "percent all": lambda text: "".join(f"%{byte:02X}" for byte in text.encode()),
    "json escapes": lambda text: "".join(f"\\u{ord(c):04x}" for c in text),
    "python escapes": lambda text: "".join(f"\\x{byte:02x}" for byte in text.encode("latin-1", "replace")),
    "nul bytes": lambda text: "\0".join(text),
}
"""Ways to hide a text, by name."""


def halves(text: str) -> tuple[str, str]:
    """Return a text in two parts, to be sent one after the other."""
    return text[: len(text) // 2], text[len(text) // 2 :]


# --- the hunter --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Survivor:
    """One secret that was found where none should be."""

    kind: str
    encoding: str
    offset: int


def encodings(secret: str) -> Iterator[tuple[str, bytes]]:
    """Yield a secret in every form it may have in a file, with the name of the form."""
    raw = secret.encode()
    yield "plain", raw
    yield "upper case", secret.upper().encode()
    yield "lower case", secret.lower().encode()
    for shift in range(3):
        # Only what doesn't depend on its neighbours: the digits that lie wholly within the secret.
        coded = base64.b64encode(b"\0" * shift + raw)
        begin, end = -(-shift * 8 // 6), (shift + len(raw)) * 8 // 6
        yield f"base64 at {shift}", coded[begin:end]
        yield f"base64 for urls at {shift}", coded[begin:end].replace(b"+", b"-").replace(b"/", b"_")
    yield "hex", raw.hex().encode()
    yield "HEX", raw.hex().upper().encode()
    yield "percent", quote(secret, safe="").encode()
    yield "percent all", "".join(f"%{byte:02X}" for byte in raw).encode()
    yield "percent all, lower", "".join(f"%{byte:02x}" for byte in raw).encode()
    yield "utf-16-le", secret.encode("utf-16-le")
    yield "utf-16-be", secret.encode("utf-16-be")
    yield "JSON", json.dumps(secret)[1:-1].encode()
    yield "JSON twice", json.dumps(json.dumps(secret))[3:-3].encode()
    yield "JSON escapes", "".join(f"\\u{ord(c):04x}" for c in secret).encode()
    yield "Python escapes", "".join(f"\\x{byte:02x}" for byte in raw).encode()
    yield "reversed", secret[::-1].encode()


class Hunter:
    """Looks for canaries in bytes.

    Args:
        canaries: Those that were pushed through.
    """

    def __init__(self, canaries: list[Canary]) -> None:
        self._needles: dict[bytes, tuple[str, str]] = {}
        for canary in canaries:
            for secret in canary.secrets:
                for encoding, needle in encodings(secret):
                    self._needles.setdefault(needle, (canary.kind, encoding))
        # Forms are as long as they are; a look at every place for its first bytes finds candidates of any length.
        self._width = min(map(len, self._needles), default=1)
        self._by_beginning: dict[bytes, list[bytes]] = {}
        for needle in self._needles:
            self._by_beginning.setdefault(needle[: self._width], []).append(needle)

    def survivors(self, data: bytes) -> list[Survivor]:
        """Return every canary that is in ``data``, in any form."""
        found: list[Survivor] = []
        width, by_beginning = self._width, self._by_beginning
        for at in range(len(data) - width + 1):
            for needle in by_beginning.get(data[at : at + width], ()):
                if data.startswith(needle, at):
                    found.append(Survivor(*self._needles[needle], at))
        return found
