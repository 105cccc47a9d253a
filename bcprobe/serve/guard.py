"""What stands before every request: who may ask, from where, how much and how often.

A request is answered only if its Host is one that this server was started for (so that no name
that somebody else's DNS points here reads anything), if it does not come from another site's page
(Origin, Sec-Fetch-Site), and, where a token was set, if it shows the token. Bodies, their time and
the rate of changes are bounded.
"""

from __future__ import annotations

import asyncio
import hmac
import html
import ipaddress
import json
import time
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any
from urllib.parse import parse_qs, quote, urlencode

#: Most bytes of a request's body, of its target, and seconds it may take to arrive.
MOST_BODY, MOST_TARGET, BODY_SECONDS = 32_768, 16_384, 10.0
#: Changes a second from one address, on average and at once.
RATE, BURST = 200.0, 400.0
MOST_ADDRESSES = 1024
_HEADERS = {
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'self'"
    ),
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
}


class Guard:
    """An ASGI application behind the checks.

    ``hosts`` are the host names asked for without port; ``any_address`` lets in every address
    written as numbers too (for a server on all of a machine's addresses). ``token`` empty: none.
    """

    def __init__(
        self, app: Any, hosts: Iterable[str], token: str = "", *, any_address: bool = False
    ) -> None:
        self.app, self.token, self.any_address = app, token, any_address
        self.hosts = {host.lower() for host in hosts}
        self.buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        """Answer a request, or say no."""
        if scope["type"] == "lifespan":
            return await self.app(scope, receive, send)
        if scope["type"] != "http":
            return None
        headers = {k.decode("latin-1"): v.decode("latin-1") for k, v in scope["headers"]}

        async def answer(message: dict[str, Any]) -> None:
            if message["type"] == "http.response.start":
                own = [(k.encode(), v.encode()) for k, v in _HEADERS.items()]
                message["headers"] = [*message["headers"], *own]
            await send(message)

        refusal = self._refusal(scope, headers)
        if refusal is not None:
            return await _say(answer, *refusal, headers)
        if self.token and not self._shows_token(scope, headers):
            if scope["method"] == "GET" and self._is_token(_asked_token(scope)):
                return await self._welcome(scope, answer)
            text = "this server asks for its token: open the address that it printed"
            return await _say(answer, 403, text, headers)
        if scope["method"] in ("GET", "HEAD"):
            return await self.app(scope, receive, answer)
        return await self._with_body(scope, receive, answer)

    async def _with_body(self, scope: dict[str, Any], receive: Any, answer: Any) -> None:
        """Answer a request once its whole body is there."""
        try:
            body = await asyncio.wait_for(_body(receive), BODY_SECONDS)
        except TimeoutError:
            return await _say(answer, 408, "the request took too long to arrive")
        if body is None:
            return await _say(answer, 413, f"a request holds at most {MOST_BODY} bytes")
        return await self.app(scope, _Replay(body, receive), answer)

    def _shows_token(self, scope: dict[str, Any], headers: dict[str, str]) -> bool:
        cookie = _cookie(headers, self._cookie_name(scope))
        header = headers.get("authorization", "").removeprefix("token ")
        return self._is_token(cookie) or self._is_token(header)

    def _refusal(self, scope: dict[str, Any], headers: dict[str, str]) -> tuple[int, str] | None:
        host, reads = headers.get("host", ""), scope["method"] in ("GET", "HEAD")
        if not self._knows(host):
            return 403, "this server does not answer to that Host"
        if len(scope["path"]) + len(scope["query_string"]) > MOST_TARGET:
            return 414, "the address is too long"
        if _from_elsewhere(scope["method"], host, headers):
            return 403, "requests of other sites are not answered"
        return None if reads else self._refused_change(scope, headers)

    def _refused_change(
        self, scope: dict[str, Any], headers: dict[str, str]
    ) -> tuple[int, str] | None:
        if scope["method"] != "POST":
            return 405, "only GET and POST are answered"
        if headers.get("content-type", "").partition(";")[0].strip() != "application/json":
            return 415, "send application/json"
        if not self._in_time((scope.get("client") or ("",))[0]):
            return 429, "too many requests; slow down"
        return None

    def _knows(self, host: str) -> bool:
        name = host.rpartition(":")[0] if not host.endswith("]") and ":" in host else host
        name = name.strip("[]").lower()
        if name in self.hosts:
            return True
        return self.any_address and _is_address(name)

    def _in_time(self, address: str) -> bool:
        """Whether one more change of an address keeps to the rate (a leaking bucket)."""
        now = time.monotonic()
        level, then = self.buckets.pop(address, (0.0, now))
        level = max(0.0, level - (now - then) * RATE)
        fits = level + 1 <= BURST
        self.buckets[address] = (level + fits, now)
        while len(self.buckets) > MOST_ADDRESSES:
            self.buckets.popitem(last=False)
        return fits

    def _is_token(self, text: str) -> bool:
        return hmac.compare_digest(text.encode(), self.token.encode())

    def _cookie_name(self, scope: dict[str, Any]) -> str:
        return f"bcprobe-{(scope.get('server') or ('', 0))[1]}"

    async def _welcome(self, scope: dict[str, Any], answer: Any) -> None:
        """Put the token into a cookie and take it out of the address."""
        query = parse_qs(scope["query_string"].decode("latin-1"))
        query.pop("token")
        rest = urlencode(query, doseq=True)
        # One slash: '//name' would be the address of another server.
        where = "/" + quote(scope["path"].lstrip("/\\")) + (f"?{rest}" if rest else "")
        cookie = f"{self._cookie_name(scope)}={self.token}; Path=/; HttpOnly; SameSite=Strict"
        headers = [(b"location", where.encode()), (b"set-cookie", cookie.encode())]
        await answer({"type": "http.response.start", "status": 303, "headers": headers})
        await answer({"type": "http.response.body", "body": b""})


def _from_elsewhere(method: str, host: str, headers: dict[str, str]) -> bool:
    """Whether another site's page asks; following a link from there is allowed."""
    follows = method == "GET" and headers.get("sec-fetch-mode") == "navigate"
    if headers.get("sec-fetch-site") == "cross-site" and not follows:
        return True
    return headers.get("origin") not in (None, f"http://{host}", f"https://{host}")


def _asked_token(scope: dict[str, Any]) -> str:
    """The token in the address, if there is one."""
    return parse_qs(scope["query_string"].decode("latin-1")).get("token", [""])[0]


class _Replay:
    """The body again, then whatever else the client sends."""

    def __init__(self, body: bytes, receive: Any) -> None:
        self.body: bytes | None = body
        self.receive = receive

    async def __call__(self) -> dict[str, Any]:
        if self.body is None:
            return await self.receive()
        body, self.body = self.body, None
        return {"type": "http.request", "body": body, "more_body": False}


async def _body(receive: Any) -> bytes | None:
    """The whole body, or None if it is too long."""
    body = b""
    while True:
        message = await receive()
        if message["type"] != "http.request":
            return body
        body += message.get("body", b"")
        if len(body) > MOST_BODY:
            return None
        if not message.get("more_body"):
            return body


async def _say(
    answer: Any, status: int, text: str, asked: Mapping[str, str] = MappingProxyType({})
) -> None:
    """Answer in words: as a page to a browser that goes to an address, else as JSON."""
    page = "text/html" in asked.get("accept", "")
    body = words_page(text) if page else json.dumps({"error": text}).encode()
    kind = b"text/html; charset=utf-8" if page else b"application/json"
    headers = [(b"content-type", kind), (b"content-length", str(len(body)).encode())]
    await answer({"type": "http.response.start", "status": status, "headers": headers})
    await answer({"type": "http.response.body", "body": body})


def words_page(text: str) -> bytes:
    """A page that says one thing and loads nothing."""
    said = html.escape(text[:1].upper() + text[1:])
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8"><title>bcprobe</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="color-scheme" content="light dark">'
        f"<main><h1>bcprobe</h1><p>{said}.</p></main></html>"
    ).encode()


def _cookie(headers: dict[str, str], name: str) -> str:
    for part in headers.get("cookie", "").split(";"):
        key, _, value = part.strip().partition("=")
        if key == name:
            return value
    return ""


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
