"""One HTTP request and its response, as plain blocking calls of the standard library; imported when a node makes its first.

A request can be aborted from another thread: its socket is shut down, so that whoever reads from it wakes up.
"""

from __future__ import annotations

import http.client
import json
import re
import socket
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping
from contextlib import suppress
from functools import cache
from typing import TYPE_CHECKING, Any

from meridian.nodes.network.errors import HttpError
from meridian.redaction import type_name

if TYPE_CHECKING:
    import ssl

__all__ = ["Exchange"]

CHUNK = 1 << 16
"""Bytes asked for at a time."""

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_NOT_IN_URL = re.compile(r"[\x00-\x20\x7f]")
_NOT_IN_HEADER = re.compile(r"[\r\n\0]")
_OF_ONE_ORIGIN = {"authorization", "cookie", "proxy-authorization"}
"""Headers that a redirect to another origin must not carry along."""


class Exchange:
    """A request that was checked, and its way to a response.

    Args:
        payload: What the message says: a mapping with ``url``, and maybe ``method``, ``headers``, ``body``.
        base_url: What a relative URL is joined to, or ``None``.
        timeout: Seconds.
        max_body: Most bytes of a response's body.

    Raises:
        HttpError: the payload describes no request.
    """

    def __init__(self, payload: Any, base_url: str | None, timeout: float, max_body: int) -> None:
        if not isinstance(payload, Mapping):
            raise HttpError(f"its payload is {type_name(payload)}, a dict with a url is needed")
        self.timeout = timeout
        self._max_body = max_body
        self._socket: socket.socket | None = None
        self._aborted = False
        headers = _headers(payload.get("headers"))
        body = _body(payload.get("body"), headers)
        method = payload.get("method") or "GET"
        if not isinstance(method, str) or not _TOKEN.fullmatch(method):
            raise HttpError("its method is not a word")
        self._request = urllib.request.Request(  # noqa: S310 - _url lets only http and https pass
            _url(payload.get("url"), base_url), data=body, headers=headers, method=method.upper()
        )

    def run(self) -> dict[str, Any]:
        """Send the request and read the response.

        Returns:
            ``{"status": int, "body": str, "headers": dict}``.

        Raises:
            HttpError: no response, a broken one, or one with a status from 400 up.
        """
        until = time.monotonic() + self.timeout
        try:
            response = self._opener().open(self._request, timeout=self.timeout)
            if response is None:
                raise HttpError("it was redirected to something that is not http or https")
            with response:
                if response.status >= 400:
                    raise HttpError(f"status {response.status}", response.status)
                raw = self._read(response, until)
                return {
                    "status": response.status,
                    "body": _text(raw, response.headers.get_content_charset()),
                    "headers": _joined(response.headers),
                }
        except HttpError:
            raise
        except urllib.error.HTTPError as error:  # a redirect that can't be followed
            error.close()
            raise HttpError(f"status {error.code}, a redirect that can't be followed", error.code) from error
        except Exception as error:
            raise HttpError(self._reason(error)) from error

    def abort(self) -> None:
        """Let `run` fail soon, from another thread; while it still connects, when it has connected or timed out."""
        self._aborted = True
        self._shut_down()

    def connected(self, to: socket.socket) -> None:
        """Note the socket of the connection in use."""
        self._socket = to
        if self._aborted:
            self._shut_down()

    def _shut_down(self) -> None:
        if self._socket is not None:
            with suppress(OSError):  # it has ended meanwhile
                self._socket.shutdown(socket.SHUT_RDWR)

    def _reason(self, error: Exception) -> str:
        if self._aborted:
            return "the run stopped before there was a response"
        if isinstance(error, urllib.error.URLError) and isinstance(error.reason, Exception):
            error = error.reason
        if isinstance(error, TimeoutError):
            return f"timed out after {self.timeout:g} s"
        if isinstance(error, http.client.IncompleteRead):
            return "the response ended too early"
        return type(error).__name__

    def _read(self, response: http.client.HTTPResponse, until: float) -> bytes:
        parts: list[bytes] = []
        total = 0
        while True:
            left = until - time.monotonic()
            if left <= 0:
                raise TimeoutError
            if self._socket is not None:
                with suppress(OSError):  # all of it is in the buffer, and the socket closed
                    self._socket.settimeout(left)
            part = response.read1(CHUNK)
            if not part:
                break
            total += len(part)
            if total > self._max_body:
                raise HttpError(f"the body of the response is longer than {self._max_body} bytes")
            parts.append(part)
        if response.length:  # the library tells only those who read everything at once
            raise HttpError("the response ended too early")
        return b"".join(parts)

    def _opener(self) -> urllib.request.OpenerDirector:
        opener = urllib.request.OpenerDirector()
        for handler in (
            urllib.request.ProxyHandler(),  # from the environment, as in v1
            _Http(self),
            _Https(self),
            _Redirect(),
            urllib.request.HTTPErrorProcessor(),
            _EveryStatus(),
        ):
            opener.add_handler(handler)
        return opener


class _Connection(http.client.HTTPConnection):
    def __init__(self, exchange: Exchange, host: str, **kwargs: Any) -> None:
        super().__init__(host, **kwargs)
        self._exchange = exchange

    def connect(self) -> None:
        super().connect()
        self._exchange.connected(self.sock)


class _TlsConnection(http.client.HTTPSConnection):
    def __init__(self, exchange: Exchange, host: str, **kwargs: Any) -> None:
        super().__init__(host, **kwargs)
        self._exchange = exchange

    def connect(self) -> None:
        super().connect()
        self._exchange.connected(self.sock)


class _Http(urllib.request.HTTPHandler):
    def __init__(self, exchange: Exchange) -> None:
        super().__init__()
        self._exchange = exchange

    def http_open(self, req: urllib.request.Request) -> http.client.HTTPResponse:
        def connection(host: str, **kwargs: Any) -> http.client.HTTPConnection:
            return _Connection(self._exchange, host, **kwargs)

        return self.do_open(connection, req)


class _Https(urllib.request.HTTPSHandler):
    def __init__(self, exchange: Exchange) -> None:
        super().__init__(context=_context())
        self._exchange = exchange

    def https_open(self, req: urllib.request.Request) -> http.client.HTTPResponse:
        def connection(host: str, **kwargs: Any) -> http.client.HTTPConnection:
            return _TlsConnection(self._exchange, host, context=_context(), **kwargs)

        return self.do_open(connection, req)


class _Redirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(
        self, req: urllib.request.Request, fp: Any, code: int, msg: str, headers: Any, newurl: str
    ) -> urllib.request.Request | None:
        made = super().redirect_request(req, fp, code, msg, headers, newurl)
        if made is not None and (made.type, made.host) != (req.type, req.host):
            for name in list(made.headers):
                if name.lower() in _OF_ONE_ORIGIN:
                    made.remove_header(name)
        return made


class _EveryStatus(urllib.request.BaseHandler):
    def http_error_default(self, req: Any, fp: Any, code: int, msg: str, hdrs: Any) -> Any:
        return fp  # the status says it


@cache
def _context() -> ssl.SSLContext:
    import ssl

    return ssl.create_default_context()


def _url(given: Any, base: str | None) -> str:
    if given is None:
        given = base
    if not isinstance(given, str) or not given:
        raise HttpError("it has no url")
    try:
        url = given if base is None else urllib.parse.urljoin(base, given)
        parts = urllib.parse.urlsplit(url)
    except ValueError as error:
        raise HttpError("its url can't be read") from error
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise HttpError("its url is not an absolute one of http or https")
    if _NOT_IN_URL.search(url):
        raise HttpError("its url contains a space or a control character")
    return url


def _headers(given: Any) -> dict[str, str]:
    if given is None:
        return {}
    if not isinstance(given, Mapping):
        raise HttpError(f"its headers are {type_name(given)}, a dict is needed")
    made = {}
    for name, value in given.items():
        text = str(value)
        if not isinstance(name, str) or not _TOKEN.fullmatch(name):
            raise HttpError("the name of a header is not a word")
        if _NOT_IN_HEADER.search(text):
            raise HttpError("a header contains CR, LF or NUL")
        made[name] = text
    return made


def _body(given: Any, headers: dict[str, str]) -> bytes | None:
    if given is None:
        return None
    if isinstance(given, (bytes, bytearray, memoryview)):
        kind, body = "application/octet-stream", bytes(given)
    else:
        try:
            kind, body = "application/json", json.dumps(given).encode()
        except (TypeError, ValueError, RecursionError) as error:
            raise HttpError("its body is neither bytes nor something that JSON can say") from error
    if not any(name.lower() == "content-type" for name in headers):
        headers["Content-Type"] = kind
    return body


def _text(raw: bytes, charset: str | None) -> str:
    try:
        return raw.decode(charset or "utf-8", "replace")
    except (LookupError, UnicodeError):  # a charset that nobody knows, or that is none
        return raw.decode("utf-8", "replace")


def _joined(headers: http.client.HTTPMessage) -> dict[str, str]:
    made: dict[str, str] = {}
    for name, value in headers.items():
        made[name] = f"{made[name]}, {value}" if name in made else value
    return made
