"""JSON Web Tokens: which are taken, which are refused, and where the issuer's keys come from."""

import asyncio
import base64
import builtins
import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from hypothesis import given, settings
from hypothesis import strategies as st
from jwt.algorithms import get_default_algorithms

from server_room_system import AuthRefused, ConfigError, JwtVerifier
from server_room_system.broker import jwt as module

SECRET = b"s" * 32
RSA = rsa.generate_private_key(public_exponent=65537, key_size=2048)
OTHER_RSA = rsa.generate_private_key(public_exponent=65537, key_size=2048)
EC = ec.generate_private_key(ec.SECP256R1())
ED = ed25519.Ed25519PrivateKey.generate()


def public_pem(private: Any) -> str:
    pem: bytes = private.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return pem.decode()


def private_pem(private: Any) -> bytes:
    pem: bytes = private.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return pem


def token(key: Any = SECRET, algorithm: str = "HS256", kid: str | None = None, **claims: Any) -> str:
    """A token that is good for a day, unless the claims say something else."""
    whole = {"sub": "ada", "exp": time.time() + 86_400, **claims}
    whole = {name: value for name, value in whole.items() if value is not None}
    return jwt.encode(whole, key, algorithm, headers=None if kid is None else {"kid": kid})


def verify(verifier: JwtVerifier, credentials: Any) -> dict[str, Any]:
    return asyncio.run(verifier(credentials))


def refused(verifier: JwtVerifier, credentials: Any, why: str = "not valid") -> None:
    with pytest.raises(AuthRefused, match=why):
        verify(verifier, credentials)


@pytest.fixture
def verifier() -> JwtVerifier:
    return JwtVerifier(key=SECRET, algorithms=["HS256"])


# With a key.


@pytest.mark.parametrize(
    ("key", "private", "algorithm"),
    [
        (SECRET, SECRET, "HS256"),
        (SECRET.decode(), SECRET, "HS256"),
        (b"s" * 64, b"s" * 64, "HS512"),
        (public_pem(RSA), RSA, "RS256"),
        (public_pem(RSA).encode(), RSA, "PS512"),
        (public_pem(EC), EC, "ES256"),
        (public_pem(ED), ED, "EdDSA"),
    ],
    ids=["HS256", "text", "HS512", "RS256", "PS512", "ES256", "EdDSA"],
)
def test_a_good_token_gives_its_claims(key: str | bytes, private: Any, algorithm: str) -> None:
    claims = verify(JwtVerifier(key=key, algorithms=[algorithm]), token(private, algorithm, roles=["player"]))
    assert (claims["sub"], claims["roles"]) == ("ada", ["player"])


def test_a_token_that_has_expired_is_refused_and_told_so(verifier: JwtVerifier) -> None:
    refused(verifier, token(exp=time.time() - 5), "has expired")
    lenient = JwtVerifier(key=SECRET, algorithms=["HS256"], leeway=30)
    assert verify(lenient, token(exp=time.time() - 5))
    refused(lenient, token(exp=time.time() - 60), "has expired")


@pytest.mark.parametrize(
    "claims",
    [
        {"exp": None},
        {"exp": "tomorrow"},
        {"exp": float("inf")},
        {"exp": [1]},
        {"nbf": 1e11},  # the year 5138
        {"iat": 1e11},
        {"aud": "anything"},
        {"sub": 12},
    ],
    ids=repr,
)
def test_claims_that_are_not_good(verifier: JwtVerifier, claims: dict[str, Any]) -> None:
    refused(verifier, _signed({"exp": time.time() + 60, **claims}), "not valid|not for this server")


def _signed(claims: dict[str, Any]) -> str:
    """Signed with the secret, whatever is in it."""
    claims = {name: value for name, value in claims.items() if value is not None}
    return _jws({"alg": "HS256", "typ": "JWT"}, json.dumps(claims).encode())


def _jws(header: dict[str, Any], payload: bytes, algorithm: str = "HS256", key: bytes = SECRET) -> str:
    def part(content: bytes) -> str:
        return base64.urlsafe_b64encode(content).rstrip(b"=").decode()

    signed = f"{part(json.dumps(header).encode())}.{part(payload)}"
    signer = get_default_algorithms()[algorithm]
    return f"{signed}.{part(signer.sign(signed.encode(), signer.prepare_key(key)))}"


@pytest.mark.parametrize(
    ("aud", "iss", "good"),
    [
        ("my-game", "issuer", True),
        (["another", "my-game"], "issuer", True),
        ("another", "issuer", False),
        (None, "issuer", False),
        ("my-game", "another", False),
        ("my-game", None, False),
    ],
)
def test_whom_a_token_is_for_and_who_made_it(aud: Any, iss: Any, good: bool) -> None:
    picky = JwtVerifier(key=SECRET, algorithms=["HS256"], audience="my-game", issuer="issuer")
    if good:
        assert verify(picky, token(aud=aud, iss=iss))
    else:
        refused(picky, token(aud=aud, iss=iss), "not for this server|not valid")


@pytest.mark.parametrize(
    "forged",
    [
        token(b"x" * 32),
        token(b"s" * 64, "HS512"),
        jwt.encode({"exp": time.time() + 86_400}, None, "none"),  # type: ignore[arg-type]
        token().rpartition(".")[0] + ".",
        token()[:-2],
        _jws({"alg": "HS256", "crit": ["x"], "x": 1}, b"{}"),
        _jws({"alg": "HS256"}, b"[1]"),
        _jws({"alg": ["HS256"]}, b"{}"),
        _jws({"alg": "HS256"}, b"[" * 5000),
        base64.urlsafe_b64encode(b"[" * 9000).decode() + ".e30.e30",
        "..",
        "",
        "\ud800",
        "a.b.c",
    ],
    ids=range(14),
)
def test_what_is_forged_or_no_token_is_refused_without_a_word_on_why(verifier: JwtVerifier, forged: str) -> None:
    refused(verifier, forged)


@pytest.mark.parametrize("credentials", [None, b"eyJ", {"token": "eyJ"}, 7], ids=repr)
def test_what_is_no_text_is_no_token(verifier: JwtVerifier, credentials: Any) -> None:
    refused(verifier, credentials, "a token is needed")


def test_a_public_key_is_not_taken_for_a_secret() -> None:
    """The oldest trick: sign with HMAC, and the issuer's public key as the secret."""
    pem = public_pem(RSA).encode()
    header, payload = {"alg": "HS256"}, json.dumps({"exp": time.time() + 60}).encode()
    signer = get_default_algorithms()["HS256"]
    part = [base64.urlsafe_b64encode(json.dumps(header).encode()).rstrip(b"=").decode()]
    part.append(base64.urlsafe_b64encode(payload).rstrip(b"=").decode())
    part.append(base64.urlsafe_b64encode(signer.sign(".".join(part).encode(), pem)).rstrip(b"=").decode())
    refused(JwtVerifier(key=pem, algorithms=["RS256"]), ".".join(part))


@given(
    st.text(max_size=200) | st.binary(max_size=80).map(lambda raw: base64.urlsafe_b64encode(raw).decode() + ".e30.x")
)
@settings(max_examples=200, deadline=None, derandomize=True)
def test_whatever_is_shown_is_refused_with_a_sentence(credentials: str) -> None:
    refused(JwtVerifier(key=SECRET, algorithms=["HS256"]), credentials)


# Settings.


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"key": SECRET}, "algorithms is a list"),
        ({"key": SECRET, "algorithms": []}, "algorithms is a list"),
        ({"key": SECRET, "algorithms": "HS256"}, "algorithms is a list"),
        ({"key": SECRET, "algorithms": ["none"]}, "algorithms is a list"),
        ({"key": SECRET, "algorithms": ["HS256", "RS256"]}, "never both"),
        ({"algorithms": ["HS256"]}, "either key= or jwks_url="),
        ({"key": SECRET, "jwks_url": "https://a/b", "algorithms": ["RS256"]}, "either key= or jwks_url="),
        ({"key": b"short", "algorithms": ["HS256"]}, "too few bytes: 32"),
        ({"key": SECRET, "algorithms": ["HS512"]}, "too few bytes: 64"),
        ({"key": SECRET, "algorithms": ["RS256"]}, "does not fit RS256"),
        ({"key": public_pem(RSA), "algorithms": ["HS256"]}, "looks like a public key"),
        ({"key": public_pem(RSA), "algorithms": ["ES256"]}, "does not fit ES256"),
        ({"key": public_pem(RSA), "algorithms": ["RS256", "ES256"]}, "does not fit ES256"),
        ({"key": private_pem(RSA), "algorithms": ["RS256"]}, "public one"),
        ({"key": 7, "algorithms": ["HS256"]}, "not int"),
        ({"key": SECRET, "algorithms": ["HS256"], "leeway": -1}, "leeway"),
        ({"key": SECRET, "algorithms": ["HS256"], "leeway": 3600}, "leeway"),
        ({"key": SECRET, "algorithms": ["HS256"], "leeway": "1"}, "leeway"),
        ({"jwks_url": "http://issuer.example/keys", "algorithms": ["RS256"]}, "https"),
        ({"jwks_url": "file:///etc/passwd", "algorithms": ["RS256"]}, "https"),
        ({"jwks_url": "https://[", "algorithms": ["RS256"]}, "no URL"),
        ({"jwks_url": "https://me:secret@a/b", "algorithms": ["RS256"]}, "no user or password"),
        ({"jwks_url": "https://a/b", "algorithms": ["HS256"]}, "need a secret"),
    ],
    ids=range(23),
)
def test_settings_that_make_no_sense(settings: Any, says: str) -> None:
    options: dict[str, Any] = {"algorithms": [], **settings}
    with pytest.raises(ConfigError, match=says) as caught:
        JwtVerifier(**options)
    assert "ssssss" not in str(caught.value)
    assert "secret@" not in str(caught.value)


def test_without_the_extra_it_says_which_one(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def missing(name: str, *args: Any) -> Any:
        if name == "jwt":
            raise ImportError(name)
        return real(name, *args)

    monkeypatch.setattr(builtins, "__import__", missing)
    with pytest.raises(ConfigError, match=r"server-room-system\[jwt\]"):
        JwtVerifier(key=SECRET, algorithms=["HS256"])


def test_it_does_not_show_its_secret(verifier: JwtVerifier) -> None:
    assert repr(verifier) == "<JwtVerifier HS256 of a key>"


# With the keys that an issuer publishes.


class Issuer:
    """Publishes keys on the loopback."""

    def __init__(self) -> None:
        self.keys: list[dict[str, Any]] = []
        self.asked = 0
        self.status = 200
        self.body: bytes | None = None
        issuer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:  # http.server's name
                issuer.asked += 1
                body = issuer.body if issuer.body is not None else json.dumps({"keys": issuer.keys}).encode()
                self.send_response(issuer.status)
                if issuer.status == 302:
                    self.send_header("Location", f"{issuer.url}?again")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  # http.server's word
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = False
        self.url = f"http://127.0.0.1:{self.server.server_port}/jwks.json"
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.02})
        self.thread.start()

    def publish(self, private: Any, algorithm: str = "RS256", **more: Any) -> None:
        family = get_default_algorithms()[algorithm]
        self.keys.append({**json.loads(family.to_jwk(private.public_key())), **more})

    def close(self) -> None:
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()


@pytest.fixture
def issuer() -> Iterator[Issuer]:
    issuer = Issuer()
    yield issuer
    issuer.close()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [1000.0]

    class Clock:
        monotonic = staticmethod(lambda: now[0])

    monkeypatch.setattr(module, "time", Clock)
    return now


def with_keys(issuer: Issuer, *algorithms: str) -> JwtVerifier:
    return JwtVerifier(jwks_url=issuer.url, algorithms=algorithms or ["RS256"])


def test_published_keys_are_fetched_once_and_found_by_their_name(issuer: Issuer) -> None:
    issuer.publish(RSA, kid="one")
    issuer.publish(EC, "ES256", kid="two", alg="ES256")
    verifier = with_keys(issuer, "RS256", "ES256")

    async def many() -> list[dict[str, Any]]:
        tokens = [token(RSA, "RS256", "one"), token(EC, "ES256", "two")] * 10
        return list(await asyncio.gather(*(verifier(one) for one in tokens)))

    assert len(asyncio.run(many())) == 20
    assert issuer.asked == 1, "all of them waited for one fetch"
    refused(verifier, token(OTHER_RSA, "RS256", "one"))
    refused(verifier, token(RSA, "RS256"), "not valid")  # without a name, of two keys it is none


def test_a_key_that_is_the_only_one_needs_no_name(issuer: Issuer) -> None:
    issuer.publish(RSA)
    assert verify(with_keys(issuer), token(RSA, "RS256"))
    issuer.keys[0]["kid"] = "one"
    assert verify(with_keys(issuer), token(RSA, "RS256"))


def test_a_new_key_is_found_and_made_up_ones_do_not_ask_the_issuer_each_time(
    issuer: Issuer, clock: list[float]
) -> None:
    issuer.publish(RSA, kid="old")
    verifier = with_keys(issuer)
    assert verify(verifier, token(RSA, "RS256", "old"))
    for number in range(50):
        refused(verifier, token(OTHER_RSA, "RS256", f"made up {number}"))
    assert issuer.asked == 1
    issuer.publish(OTHER_RSA, kid="new")
    clock[0] += 11
    assert verify(verifier, token(OTHER_RSA, "RS256", "new"))
    assert issuer.asked == 2
    refused(verifier, _jws({"alg": "RS256", "kid": ["no", "hash"]}, b"{}"))


def test_a_key_that_is_withdrawn_is_good_for_five_minutes_at_most(issuer: Issuer, clock: list[float]) -> None:
    issuer.publish(RSA, kid="one")
    verifier = with_keys(issuer)
    assert verify(verifier, token(RSA, "RS256", "one"))
    issuer.keys.clear()
    issuer.publish(OTHER_RSA, kid="two")
    clock[0] += 299
    assert verify(verifier, token(RSA, "RS256", "one"))
    clock[0] += 2
    refused(verifier, token(RSA, "RS256", "one"))


def test_while_the_issuer_is_silent_its_last_keys_are_good_for_an_hour(
    issuer: Issuer, clock: list[float], caplog: pytest.LogCaptureFixture
) -> None:
    issuer.publish(RSA, kid="one")
    verifier = with_keys(issuer)
    assert verify(verifier, token(RSA, "RS256", "one"))
    issuer.status = 503
    clock[0] += 3500
    assert verify(verifier, token(RSA, "RS256", "one"))
    assert "can't be had" in caplog.text
    clock[0] += 101
    with pytest.raises(OSError, match="can't be had"):
        verify(verifier, token(RSA, "RS256", "one"))
    issuer.status = 200
    clock[0] += 11
    assert verify(verifier, token(RSA, "RS256", "one"))


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (404, b""),
        (302, b""),
        (200, b"no json"),
        (200, b"[]"),
        (200, b'{"keys": 1}'),
        (200, b'{"keys": [null, {}, {"kty": "oct", "k": "c2VjcmV0"}, {"kty": "RSA"}]}'),
        (200, b'{"keys": [{"kty": "oct"}]}'),
        (200, b"[" * 100_000),
        (200, b" " * (2 << 20)),
    ],
    ids=["missing", "elsewhere", "text", "list", "number", "no use", "a secret", "deep", "endless"],
)
def test_an_issuer_that_publishes_nonsense_lets_nobody_in(issuer: Issuer, status: int, body: bytes) -> None:
    issuer.status, issuer.body = status, body
    with pytest.raises(OSError, match="can't be had"):
        verify(with_keys(issuer), token(RSA, "RS256"))
    assert issuer.asked == 1, "and is not followed anywhere"


def test_keys_for_other_uses_are_left_out(issuer: Issuer) -> None:
    issuer.publish(RSA, kid="enc", use="enc")
    issuer.publish(RSA, kid="other", alg="RS512")
    issuer.publish(OTHER_RSA, kid="sig", use="sig")
    small = rsa.generate_private_key(public_exponent=65537, key_size=1024)
    issuer.publish(small, kid="small")
    verifier = with_keys(issuer)
    assert verify(verifier, token(OTHER_RSA, "RS256", "sig"))
    for kid in ("enc", "other"):
        refused(verifier, token(RSA, "RS256", kid))
    assert "small" not in verifier._keys, "keys of a size that is broken are no keys"


def test_an_issuer_that_nobody_answers_for(issuer: Issuer) -> None:
    issuer.close()
    with pytest.raises(OSError, match="can't be had"):
        verify(with_keys(issuer), token(RSA, "RS256"))
