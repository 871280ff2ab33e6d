"""JSON Web Tokens (RFC 7519) as credentials: an ``on_auth`` that is ready to use.

Of the traps that RFC 8725 lists, these are closed here: the algorithms are the
owner's choice and never the token's; ``none`` is no algorithm; secrets and
public keys never meet in one verifier, so a public key can't be taken for a
secret; every token must expire.
"""

import asyncio
import json
import logging
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from ..protocol.errors import AuthRefused, ConfigError
from .auth import Peer

if TYPE_CHECKING:
    from jwt import PyJWK

__all__ = ["JwtVerifier"]

logger = logging.getLogger(__name__.partition(".broker")[0] + ".server")

_SECRET_SIZE = {"HS256": 32, "HS384": 48, "HS512": 64}
"""Bytes that a secret has at least (RFC 7518, 3.2)."""
_PUBLIC = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA")
_SMALLEST_RSA = 2048
"""Bits (RFC 7518, 3.3)."""
_LONGEST_LEEWAY = 300.0
_FRESH = 300.0
"""Seconds after which the issuer's keys are fetched again."""
_STALE = 3600.0
"""Seconds for which they are good while the issuer does not answer."""
_REFETCH = 10.0
"""Seconds between two attempts to fetch them: tokens with unknown keys are free of charge to make."""
_FETCH_TIME = 3.0
_LARGEST = 1 << 20
"""Bytes of a key set."""
_MOST_KEYS = 256


class JwtVerifier:
    """Lets in who shows a JSON Web Token, as ``credentials="eyJ..."``; needs the extra ``[jwt]``.

    ::

        class Game(Server):
            on_auth = JwtVerifier(
                jwks_url="https://login.example.com/.well-known/jwks.json",
                algorithms=["RS256"],
                audience="my-game",
                issuer="https://login.example.com/",
            )

    Hooks find the token's claims as ``client.auth``: ``client.auth["sub"]``. If they
    are over 4 KiB, or you want something else, call it from an ``on_auth`` of yours:
    ``claims = await verifier(credentials, peer)``.

    A token is looked at when a session is opened. A session outlives its token;
    ``Session.end`` ends it.

    Args:
        key: the key that tokens are signed with: a secret of 32 bytes or more for HS256, or the issuer's public key
            as PEM. Either this or ``jwks_url``.
        jwks_url: where the issuer publishes its keys (RFC 7517), by https; http goes for loopback alone. Fetched on
            a thread, kept for five minutes, and fetched earlier if a token names a key that is not there, but at most
            every ten seconds. If the issuer does not answer, the last keys are good for an hour.
        algorithms: those that are accepted: HS256, HS384, HS512 with a secret; RS, PS or ES with 256, 384 or 512, and
            EdDSA with public keys. There is no default: what a token itself says decides nothing.
        audience: what the claim ``aud`` must hold. Without it, tokens that have an ``aud`` are refused.
        issuer: what the claim ``iss`` must be. Without it, any.
        leeway: seconds by which clocks may differ, at most 300.

    Raises:
        ConfigError: these make no sense together, or the extra is not installed.
    """

    def __init__(
        self,
        *,
        key: str | bytes | None = None,
        jwks_url: str | None = None,
        algorithms: Sequence[str],
        audience: str | Sequence[str] | None = None,
        issuer: str | None = None,
        leeway: float = 0.0,
    ) -> None:
        try:
            import jwt  # noqa: PLC0415  # an extra: only who needs it loads it
        except ImportError as error:
            raise ConfigError("JwtVerifier needs PyJWT: pip install 'server-room-system[jwt]'") from error
        self._jwt = jwt
        self._algorithms = _checked(algorithms)
        if (key is None) == (jwks_url is None):
            raise ConfigError("JwtVerifier takes either key= or jwks_url=, and one of them")
        if not isinstance(leeway, int | float) or not 0.0 <= leeway <= _LONGEST_LEEWAY:
            raise ConfigError(f"leeway is 0 to {_LONGEST_LEEWAY:.0f} seconds, not {leeway!r:.40}")
        self._audience = audience
        self._issuer = issuer
        self._leeway = float(leeway)
        self._required = ["exp", *(["aud"] if audience is not None else []), *(["iss"] if issuer is not None else [])]
        self._key: Any = None if key is None else self._prepared(key)
        self._url = jwks_url
        if jwks_url is not None:
            _check_url(jwks_url)
            if self._algorithms[0] in _SECRET_SIZE:
                raise ConfigError("a jwks_url publishes keys, and HS algorithms need a secret: take RS256, say")
        self._keys: dict[str | None, Any] = {}
        self._fetched_at = self._tried_at = float("-inf")
        self._fetching: asyncio.Task[None] | None = None

    def __repr__(self) -> str:
        return f"<JwtVerifier {', '.join(self._algorithms)} of {self._url or 'a key'}>"

    async def __call__(self, credentials: Any, peer: Peer | None = None) -> dict[str, Any]:
        """The claims of a token. Made to be an ``on_auth``.

        Raises:
            AuthRefused: it is no token, or not a good one.
            OSError: the issuer's keys can't be had.
        """
        if not isinstance(credentials, str):
            raise AuthRefused("a token is needed: give it as credentials")
        jwt = self._jwt
        try:
            header = jwt.get_unverified_header(credentials)
        except (jwt.PyJWTError, ValueError, TypeError, RecursionError):
            raise AuthRefused(_NOT_VALID) from None
        key = self._key if self._url is None else await self._published(header.get("kid"))
        if key is None:
            raise AuthRefused(_NOT_VALID)
        try:
            claims: dict[str, Any] = jwt.decode(
                credentials,
                key,
                algorithms=self._algorithms,
                audience=self._audience,
                issuer=self._issuer,
                leeway=self._leeway,
                options={"require": self._required},
            )
        except jwt.ExpiredSignatureError:
            raise AuthRefused("the token has expired: ask for a new one") from None
        except (jwt.InvalidAudienceError, jwt.InvalidIssuerError):
            raise AuthRefused("the token is not for this server") from None
        except (jwt.PyJWTError, ValueError, TypeError, OverflowError, RecursionError):
            raise AuthRefused(_NOT_VALID) from None  # what exactly is nobody's business, and might repeat the token
        return claims

    def _prepared(self, key: str | bytes) -> Any:
        """The key, as PyJWT wants it. Never says what it is."""
        jwt = self._jwt
        content = key.encode() if isinstance(key, str) else key
        if not isinstance(content, bytes):
            raise ConfigError(f"key is a secret or a public key in PEM, not {type(key).__name__}")
        needed = max((_SECRET_SIZE.get(name, 0) for name in self._algorithms), default=0)
        if needed and len(content) < needed:
            raise ConfigError(f"the secret for {self._algorithms[0]} has too few bytes: {needed} is the least")
        prepared: Any = None
        for name in self._algorithms:
            try:
                prepared = jwt.get_algorithm_by_name(name).prepare_key(content)
            except (jwt.PyJWTError, ValueError, TypeError, NotImplementedError):
                kind = "no secret: it looks like a public key" if needed else "no public key in PEM for it"
                raise ConfigError(f"JwtVerifier: the key does not fit {name}: it is {kind}") from None
            if not needed and not _is_public(prepared):
                raise ConfigError(f"JwtVerifier: the key for {name} is to be a public one, RSA of 2048 bits or more")
        return prepared

    # The issuer's keys.

    async def _published(self, kid: Any) -> Any:
        now = time.monotonic()
        if now - self._fetched_at > _FRESH or kid not in list(self._keys):  # a list: a hostile one has no hash
            await self._fetch(now)
        if time.monotonic() - self._fetched_at > _STALE:
            raise OSError(f"the keys at {self._url} can't be had")
        return self._keys.get(kid) if isinstance(kid, str | None) else None

    async def _fetch(self, now: float) -> None:
        """Have the keys fetched, unless that was tried just now. All who need them wait for one attempt."""
        if self._fetching is None or self._fetching.done():
            if now - self._tried_at < _REFETCH:
                return
            self._tried_at = now
            self._fetching = asyncio.get_running_loop().create_task(self._refresh())
        await asyncio.shield(self._fetching)

    async def _refresh(self) -> None:
        assert self._url is not None
        try:
            content = await asyncio.get_running_loop().run_in_executor(None, _download, self._url)
            keys = self._read(content)
        except (OSError, ValueError, RecursionError, self._jwt.PyJWTError) as error:
            logger.warning("the keys at %s can't be had: %s: %s", self._url, type(error).__name__, error)
            return
        self._keys = keys
        self._fetched_at = time.monotonic()

    def _read(self, content: bytes) -> dict[str | None, Any]:
        """The public keys of a key set by their names; a single one goes for tokens without a name as well."""
        held = json.loads(content)
        entries = held.get("keys") if isinstance(held, dict) else None
        if not isinstance(entries, list) or len(entries) > _MOST_KEYS:
            raise ValueError("this is no key set")
        keys: dict[str | None, Any] = {}
        for entry in entries:
            found = self._read_one(entry)
            if found is not None:
                keys[found.key_id] = found.key
        if not keys:
            raise ValueError("there is no key for these algorithms in it")
        if len(keys) == 1:
            keys.setdefault(None, *keys.values())
        return keys

    def _read_one(self, entry: Any) -> "PyJWK | None":
        """A key that signs by an algorithm of ours; others have their own uses."""
        if not isinstance(entry, dict) or entry.get("use", "sig") != "sig" or entry.get("kty") == "oct":
            return None  # a secret ("oct") has no business in a published set
        if "alg" in entry and entry["alg"] not in self._algorithms:
            return None
        try:
            key = self._jwt.PyJWK.from_dict(entry)
        except (self._jwt.PyJWTError, ValueError, TypeError, KeyError):  # a field that is missing may be each of these
            return None
        return key if _is_public(key.key) and isinstance(key.key_id, str | None) else None


_NOT_VALID = "the token is not valid"


def _checked(algorithms: Sequence[str]) -> list[str]:
    known = (*_SECRET_SIZE, *_PUBLIC)
    if isinstance(algorithms, str) or not algorithms or any(name not in known for name in algorithms):
        raise ConfigError(f"algorithms is a list of what you accept, of {', '.join(known)}: not {algorithms!r:.60}")
    secret = [name in _SECRET_SIZE for name in algorithms]
    if any(secret) and not all(secret):
        raise ConfigError("algorithms are those of a secret (HS) or those of public keys, never both")
    return list(algorithms)


def _check_url(url: str) -> None:
    try:
        parts = urlsplit(url)
        host = parts.hostname
    except ValueError:
        raise ConfigError("jwks_url is no URL") from None
    local = host in ("127.0.0.1", "localhost", "::1")
    if not host or not (parts.scheme == "https" or (parts.scheme == "http" and local)):
        raise ConfigError("jwks_url is an https:// URL: over http, whoever is in between lets in whom he likes")
    if parts.username is not None or parts.password is not None:
        raise ConfigError("jwks_url holds no user or password: it is logged")


def _is_public(key: Any) -> bool:
    """Whether it verifies and can't sign, and is no RSA key of a size that is broken."""
    if not hasattr(key, "verify") or hasattr(key, "sign"):
        return False
    return not hasattr(key, "public_numbers") or not hasattr(key.public_numbers(), "n") or key.key_size >= _SMALLEST_RSA


def _download(url: str) -> bytes:
    """What is there. Runs on a thread. Raises OSError, or ValueError where it is too large."""
    # Here, because they bring TLS along, which is slow to load. The scheme was looked at: urllib knows others.
    import urllib.error  # noqa: PLC0415
    import urllib.request  # noqa: PLC0415
    from http.client import HTTPException  # noqa: PLC0415

    opener = urllib.request.OpenerDirector()
    # Without the handler of redirects: one might lead from https to anywhere.
    for handler in (
        urllib.request.ProxyHandler(),
        urllib.request.HTTPHandler(),
        urllib.request.HTTPSHandler(),
        urllib.request.HTTPErrorProcessor(),
        urllib.request.HTTPDefaultErrorHandler(),
    ):
        opener.add_handler(handler)
    deadline = time.monotonic() + _FETCH_TIME
    request = urllib.request.Request(url, headers={"Accept": "application/json", "User-Agent": "server-room-system"})
    try:
        content = b""
        with opener.open(request, timeout=_FETCH_TIME) as answer:
            while piece := answer.read1(1 << 16):
                content += piece
                if len(content) > _LARGEST:
                    raise ValueError(f"over {_LARGEST} bytes")
                if time.monotonic() > deadline:  # urllib's own bound is for each piece
                    raise TimeoutError("it takes too long")
    except urllib.error.HTTPError as error:
        error.close()  # it is an answer as well, and holds its connection
        raise OSError(f"status {error.code}") from None
    except HTTPException as error:
        raise OSError(f"no HTTP: {type(error).__name__}") from None
    return content
