"""Every regular expression that is run over texts from outside.

They take time linear in the text, whatever the text: a repeat is possessive (it gives nothing back, so nothing is tried
twice), and bounded, or else the last thing in its pattern, where nothing after it can fail. A test reads the parse trees
and refuses anything else.
"""

from __future__ import annotations

import re
from functools import cache

_LOCAL = r"""[^\s@<>()\[\],;:"'=/?&|\\`*]"""

SOURCES: dict[str, str] = {
    # --- secrets with a shape of their own; no boundary on the left, since an escape such as \n may stand there
    "aws_key": r"(?:AKIA|ASIA|AROA|AIDA|ABIA|ACCA)[0-9A-Z]{16,}+",
    "github_token": r"gh[pousr]_[A-Za-z0-9]{20,}+|github_pat_[A-Za-z0-9_]{20,}+",
    "slack_token": (
        r"xox[abeoprs]-[A-Za-z0-9-]{8,}+|xapp-[0-9]-[A-Za-z0-9-]{8,}+"
        r"|hooks\.slack\.com/[a-z]{1,12}+/[A-Za-z0-9/_+-]{8,}+"
    ),
    "stripe_key": r"(?:sk|rk|pk)_(?:live|test)_[A-Za-z0-9]{8,}+|whsec_[A-Za-z0-9+/=]{16,}+",
    "google_key": r"AIza[0-9A-Za-z_-]{30,}+|ya29\.[0-9A-Za-z_.-]{16,}+|GOCSPX-[0-9A-Za-z_-]{20,}+",
    "model_key": r"sk-[A-Za-z0-9_-]{20,}+",
    "vendor_token": (r"(?:npm_|hf_|glpat-|dop_v1_|shpat_|pypi-AgE|SG\.)[A-Za-z0-9_.-]{16,}+"),
    "jwt": r"eyJ[A-Za-z0-9_.-]{16,}+",
    "bearer": r"(?i:bearer|token)[\s:]{1,4}+(?P<value>[A-Za-z0-9+/=._~-]{8,}+)",
    "basic": r"(?i:basic)\s{1,4}+(?P<value>[A-Za-z0-9+/=_-]{8,}+)",
    "authorization": (
        r"""(?i:authorization)[\\"']{0,16}+\s{0,4}+[:=]\s{0,4}+[\\"']{0,16}+"""
        r"""(?P<value>(?i:digest)\s[^\r\n]{8,}+|[^\r\n"']{8,}+)"""
    ),
    # Up to where the value begins; where it ends depends on how it is quoted.
    "assigned": (
        r"(?i:(?P<strong>passw(?:or)?d|passphrase|pwd|secret|api[_-]?+key|(?:access|account|private|signing)[_-]?+key)"
        r"|token|auth|credentials?+|cookie|session[_-]?+id|signature|\bsig|\bkey)"
        r"""[\\"']{0,16}+\s{0,4}+(?:=>|[:=]|>(?=[^\s=<]))\s{0,4}+"""
        r"""(?:[bBrRuUfF]{0,2}+(?P<quote>\\{0,16}+(?:\"{3}|'{3}|["'])))?"""
    ),
    "option": (
        r"--?(?i:(?:[a-z0-9]{1,16}+[-_]){0,3}+(?:password|passwd|passphrase|pass|secret|token|key))"
        r"""\s{1,4}+(?P<value>[^\s"'-][^\s"']{3,}+)"""
    ),
    "unquoted": r"""[^\s"'\\,;&<>(){}]{1,}+""",
    "authority": r"""://(?P<rest>[^\s"'<>]{1,}+)""",
    # --- personal data
    "email": _LOCAL + r"{1,128}+@[\w-]{1,63}+(?:\.[\w-]{1,63}+){1,8}+",
    "phone_international": r"(?<!\d)(?:\+|(?<![A-Za-z0-9+])(?<!\d[.:-])00)[1-9](?:[ .()/-]{0,2}+\d){7,14}+(?!\d)",
    "phone_american": r"(?<![A-Za-z0-9+])(?<!\d[.-])(?:1[ .-])?+(?:\(\d{3}\) ?+|\d{3}[ .-])\d{3}[ .-]\d{4}(?![\w-])",
    "phone_national": r"(?<![A-Za-z0-9+])(?<!\d[.:/-])\(?+0[1-9]\d{0,4}+\)?+(?:[ /.-]{1,3}+\d{2,8}+){1,5}+(?!\w)",
    "digits": r"(?<!\d)\d(?:[ ._-]?+\d){12,}+",
    "iban": r"(?<![A-Za-z0-9])(?=[A-Za-z]{2}\d{2}[ -]?+[A-Za-z0-9]{2})",
    "ipv4": r"(?<!\d)(?<!\d\.)(?:\d{1,3}+\.){3}+\d{1,3}+(?P<prefix>/\d{1,2}+)?(?!\.?+\d)",
    "ipv6": r"(?<![0-9A-Za-z])[0-9A-Fa-f:.]{3,}+",
    "digit": r"\d",
    "date": (
        r"(?:0?+[1-9]|[12]\d|3[01])[./-](?:0?+[1-9]|1[0-2])[./-](?:\d{4}|\d{2})(?!\d|[./-]\d)"
        r"|(?:0?+[1-9]|1[0-2])/(?:0?+[1-9]|[12]\d|3[01])/\d{4}(?!\d)"
    ),
    # --- token-shaped strings, and texts in another form
    "token": r"[A-Za-z0-9_+/=-]{20,}+",
    "base64": r"[A-Za-z0-9+/_-]{12,}+={0,2}+",
    "hex": r"[0-9A-Fa-f]{14,}+",
    "escape": r"%(?P<percent>[0-9A-Fa-f]{2})|\\{1,16}+(?:u(?P<u>[0-9A-Fa-f]{4})|x(?P<x>[0-9A-Fa-f]{2}))|&#(?P<entity>\d{1,6}+);",
    "word": r"""[^\s"'<>]{3,}+""",
    "blank_escape": r"\\{1,16}+[nrtbf]",
    "uuid": r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\Z",
    # --- values that are generalised as a whole
    "timestamp": r"(?P<day>\d{4}-\d{2}-\d{2})(?:[T ]\d{2}:\d{2}[0-9:.Z+-]{0,24}+)?+\Z",
    "number": r"[+-]?+\d{1,20}+(?:\.\d{1,20}+)?+\Z",
}


@cache
def pattern(name: str) -> re.Pattern[str]:
    """Return the compiled pattern of that name; compiled at first use, as most processes never see most of them."""
    return re.compile(SOURCES[name])
