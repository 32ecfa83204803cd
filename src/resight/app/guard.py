"""What stands before every page, call and web socket: who may ask, from where, and how much may be sent.

A browser lets any web page open web sockets to this machine and send requests to it, so that listening on 127.0.0.1
alone keeps nobody out: requests that come from other pages, or under a foreign host name (DNS rebinding), are refused.
"""

import hmac
from collections.abc import Sequence
from http.cookies import CookieError, SimpleCookie
from ipaddress import ip_address
from typing import Any
from urllib.parse import parse_qs, parse_qsl, urlencode, urlsplit

from starlette.exceptions import HTTPException
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from resight.app.uploads import MOST_BYTES, too_large
from resight.errors import ConfigError

LOCALHOST = "localhost"

COOKIE = "resight_token"

LEAST_TOKEN = 8
"""Fewest characters of a token that someone chooses."""

ENVELOPE = 64 * 1024
"""Bytes that a form may have around an upload."""

HEADERS = {
    "content-security-policy": "default-src 'self' data: blob: 'unsafe-inline' 'unsafe-eval'; connect-src 'self' ws: "
    "wss:; base-uri 'self'; form-action 'self'; frame-ancestors 'none'; object-src 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
}
"""Sent with every answer: nothing is loaded from, or told to, another machine."""

FORM = """<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>resight: token</title>
<body style="font-family:system-ui,sans-serif;max-width:30rem;margin:4rem auto;padding:0 1rem">
<h1>This app needs its token</h1><p>It was printed where <code>resight app</code> was started.</p>
<form method="get" action="/"><label>Token <input name="token" type="password" autocomplete="off" autofocus required>
</label> <button>Enter</button></form></body></html>"""


def is_local(host: str) -> bool:
    """Tell whether a name or an address always means the machine that asks: localhost, 127.0.0.0/8 and ::1.

    A name that only looks like one, as 127.example.org, is anybody's.
    """
    if host.lower().removesuffix(".") == LOCALHOST:
        return True
    try:
        return ip_address(host.partition("%")[0]).is_loopback
    except ValueError:
        return False


def check_token(token: str | None) -> None:
    """Refuse a token that is easily guessed, or that no header can carry.

    Raises:
        ConfigError: as said.
    """
    if token is not None and (len(token) < LEAST_TOKEN or not token.isascii() or not token.isprintable()):
        raise ConfigError(
            f"--token must have {LEAST_TOKEN} or more printable ASCII characters; leave it out for a safe one"
        )


class Guard:
    """Wraps an application. `token`: what all who ask must have; None: nothing, but only for this machine."""

    def __init__(self, app: ASGIApp, token: str | None = None, most_bytes: int = MOST_BYTES) -> None:
        self.app, self.token, self.most_bytes = app, token, most_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let it pass, or refuse it."""
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
        refusal = self._refusal(scope, headers)
        if refusal is None:
            await self.app(scope, self._counted(receive), _with_headers(send))
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008, "reason": "not allowed"})
        else:
            await refusal(scope, receive, _with_headers(send))

    def _refusal(self, scope: Scope, headers: dict[str, str]) -> Response | None:
        host = headers.get("host", "")
        if self.token is None and not is_local(_name(host)):
            return _sentence(403, f"this app answers to {LOCALHOST}, 127.0.0.1 and ::1 only, not to '{host[:100]}'")
        origin = headers.get("origin")
        if (origin is not None and _host(origin) != host) or _asked_by_another_site(headers):
            return _sentence(403, "this app does not answer to pages of other sites")
        if self.token is not None and not self._known(scope, headers):
            return self._ask_for_token(scope, headers)
        length = headers.get("content-length", "")
        if length.isdecimal() and int(length) > self.most_bytes + ENVELOPE:
            return _sentence(413, too_large(int(length)))
        query = _query(scope)
        if self.token is not None and scope["type"] == "http" and scope["method"] == "GET" and "token" in query:
            return self._remember(scope, headers)
        return None

    def _known(self, scope: Scope, headers: dict[str, str]) -> bool:
        scheme, _, bearer = headers.get("authorization", "").partition(" ")
        given = [*_query(scope).get("token", ()), _cookie(headers)]
        if scheme.lower() == "bearer":
            given.append(bearer.strip())
        return any(self._matches(one) for one in given)

    def _matches(self, given: str) -> bool:
        return self.token is not None and hmac.compare_digest(given.encode(), self.token.encode())

    def _ask_for_token(self, scope: Scope, headers: dict[str, str]) -> Response:
        if scope["type"] == "http" and scope["method"] == "GET" and "text/html" in headers.get("accept", ""):
            return HTMLResponse(FORM, 401)
        return _sentence(
            401, "this app needs its token, as a header 'Authorization: Bearer TOKEN', and got none or another"
        )

    def _remember(self, scope: Scope, headers: dict[str, str]) -> Response | None:
        """Put the token into a cookie, and take it out of the address, which browsers keep and show."""
        if "text/html" not in headers.get("accept", "") or self.token is None:
            return None
        rest = [(n, v) for n, v in parse_qsl(scope["query_string"].decode("latin-1")) if n != "token"]
        # Of one slash: "//host" would be another site's address.
        path = "/" + scope["path"].lstrip("/\\")
        response = RedirectResponse(path + (f"?{urlencode(rest)}" if rest else ""), 303)
        response.set_cookie(COOKIE, self.token, httponly=True, samesite="lax", secure=scope["scheme"] == "https")
        return response

    def _counted(self, receive: Receive) -> Receive:
        """Stop a body that is longer than it said, or did not say how long it is."""
        came = 0

        async def counted() -> Message:
            nonlocal came
            message = await receive()
            if message["type"] == "http.request":
                came += len(message.get("body", b""))
                if came > self.most_bytes + ENVELOPE:
                    raise HTTPException(413, too_large())
            return message

        return counted


def _with_headers(send: Send) -> Send:
    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            present: Sequence[Any] = message.get("headers", [])
            message["headers"] = [*present, *((n.encode(), v.encode()) for n, v in HEADERS.items())]
        await send(message)

    return sending


def _sentence(status: int, text: str) -> JSONResponse:
    return JSONResponse({"error": text}, status)


def _query(scope: Scope) -> dict[str, list[str]]:
    return parse_qs(scope.get("query_string", b"").decode("latin-1"))


def _cookie(headers: dict[str, str]) -> str:
    try:
        found = SimpleCookie(headers.get("cookie", "")).get(COOKIE)
    except CookieError:
        return ""
    return "" if found is None else found.value


def _asked_by_another_site(headers: dict[str, str]) -> bool:
    """Tell by what browsers say; to follow a link from elsewhere is allowed."""
    return headers.get("sec-fetch-site") in ("cross-site", "same-site") and headers.get("sec-fetch-mode") != "navigate"


def _host(origin: str) -> str:
    try:
        return urlsplit(origin).netloc
    except ValueError:
        return ""


def _name(host: str) -> str:
    """Give the host's name without its port."""
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""
