"""What may be read outside the cluster: what a file names, and of that only a short, timely, sound answer."""

from __future__ import annotations

import asyncio
import gzip
import socket
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp.abc import AbstractResolver, ResolveResult
from endpoint_server import EndpointServer, asking, endpoint_server
from real_service import write_credentials
from ruamel.yaml import YAML

from receiver.app import serving
from receiver.clients import cluster, endpoints
from receiver.clients.addresses import Guarded, refused_address
from receiver.clients.answers import Applied, Rejected
from receiver.clients.endpoints import Endpoint, Endpoints, read_endpoints
from receiver.demo.clock import WorldClock
from receiver.demo.scenario import scenario
from receiver.demo.world import demo_world
from receiver.domain.endpoints import EndpointKind
from receiver.domain.errors import PermanentError, TemporaryError
from receiver.domain.plans import ObjectRef, WarmUpStep
from receiver.settings import Settings
from receiver.trials.explain import ReadOnlyEndpoints

ROOT = Path(__file__).parent.parent.parent
PAGE, HEALTH, BREAKERS = EndpointKind.STATUS_PAGE, EndpointKind.HEALTH, EndpointKind.CIRCUIT_BREAKERS
WARM = EndpointKind.WARM_UP
GOOD = """
openai:
  kind: statusPage
  url: https://status.openai.com/api/v2/status.json
"""


def written(folder: Path, text: str) -> Path:
    path = folder / "endpoints.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_the_example_of_the_documentation_is_a_file_that_loads(tmp_path: Path) -> None:
    page = (ROOT / "docs" / "endpoints.md").read_text(encoding="utf-8")
    example = page.split("```yaml\n", 1)[1].split("```", 1)[0]
    found = read_endpoints(written(tmp_path, example))
    assert {each.kind for each in found.values()} == set(EndpointKind)
    documented = set(YAML(typ="safe").load(example)["breakers"]) | {"insecure"}
    assert documented == set(Endpoint.model_fields)
    for key in Endpoint.model_fields:
        assert f"`{key}`" in page


@pytest.mark.parametrize(
    "url",
    [
        "https://status.openai.com/api/v2/status.json",
        "https://status.openai.com:8443/a?b=c",
        "http://api.greenlang.svc/health",
        "http://api.greenlang.svc.cluster.local.:8080",
        "https://10.0.0.7/health",
        "https://[2001:db8::1]/health",
    ],
)
def test_an_address_that_may_be_asked(tmp_path: Path, url: str) -> None:
    text = GOOD.replace("https://status.openai.com/api/v2/status.json", f'"{url}"')
    assert read_endpoints(written(tmp_path, text))["openai"].url == url


FORM = "openai.url: must be https://HOST[:PORT]/PATH"
NEVER = "openai.url: names a host that is never asked"


@pytest.mark.parametrize(
    ("url", "complaint"),
    [
        ("ftp://status.openai.com", FORM),
        ("HTTPS://status.openai.com", FORM),
        ("https://carol:hunter2@status.openai.com", FORM),
        ("https://status.openai.com/#hunter2", FORM),
        ("https://status.openai.com\\\\@evil.example", FORM),
        ("https://evil.example/\\u0000", FORM),
        ("https://status.openai.com:0/", FORM),
        ("https://status.openai.com:70000/", FORM),
        ("https://169\\u3002254\\u3002169\\u3002254/", FORM),
        ("https://%31%36%39.254.169.254/", FORM),
        ("https://169.254.169.254/latest/meta-data", NEVER),
        ("https://169.254.169.254./latest", NEVER),
        ("https://2852039166/", NEVER),
        ("https://0xA9FEA9FE/", NEVER),
        ("https://169.254.43518/", NEVER),
        ("https://[::ffff:169.254.169.254]/", NEVER),
        ("https://[64:ff9b::a9fe:a9fe]/", NEVER),
        ("https://[fe80::1]/", NEVER),
        ("https://[fd00:ec2::254]/", NEVER),
        ("https://[ab:cd]/", NEVER),
        ("https://metadata.google.internal/computeMetadata", NEVER),
        ("https://Metadata/", NEVER),
        ("https://0.0.0.0/", NEVER),
        ("https://.../", NEVER),
        ("http://status.openai.com/", "url must begin with https://"),
        ("http://svc/", "url must begin with https://"),
        ("http://api.svc.evil.example/", "url must begin with https://"),
    ],
)
def test_an_address_that_is_never_asked(tmp_path: Path, url: str, complaint: str) -> None:
    text = GOOD.replace("https://status.openai.com/api/v2/status.json", f'"{url}"')
    with pytest.raises(PermanentError) as caught:
        read_endpoints(written(tmp_path, text))
    assert complaint in str(caught.value)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("more", "complaint"),
    [
        ("token: hunter2", "openai.token: there is no such setting: write token_file, the name of a file"),
        ("token_file: /run/token", "token_file is not for a status page"),
        ("insecure: true", "certificates are always verified"),
        ("redirects: true", "openai.redirects: there is no such setting"),
        ("kind: page", "cannot be read"),
    ],
)
def test_what_is_wrong_is_named_with_its_place(tmp_path: Path, more: str, complaint: str) -> None:
    with pytest.raises(PermanentError) as caught:
        read_endpoints(written(tmp_path, f"{GOOD}  {more}\n"))
    assert complaint in str(caught.value)
    assert "hunter2" not in str(caught.value)


def test_every_complaint_comes_at_once(tmp_path: Path) -> None:
    text = f"{GOOD}A B: {{}}\napi: {{kind: ping, url: http://a.example}}\n"
    with pytest.raises(PermanentError) as caught:
        read_endpoints(written(tmp_path, text))
    assert len(str(caught.value).splitlines()) == 2
    assert "'statusPage', 'health', 'circuitBreakers' or 'warmUp'" in str(caught.value)


class Lying(AbstractResolver):
    """A name server that sends whoever asks to this address."""

    def __init__(self, *addresses: str) -> None:
        self._addresses = addresses

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        return [
            ResolveResult(hostname=host, host=each, port=port, family=family, proto=0, flags=0)
            for each in self._addresses
        ]

    async def close(self) -> None:
        pass


async def test_a_name_that_leads_to_the_metadata_service_is_not_asked() -> None:
    assert await Guarded(Lying("10.0.0.7")).resolve("a.example")
    for address in ("169.254.169.254", "fe80::1%eth0", "::ffff:169.254.169.254"):
        with pytest.raises(OSError, match="is refused"):
            await Guarded(Lying("10.0.0.7", address)).resolve("a.example")
    connector = aiohttp.TCPConnector(resolver=Guarded(Lying("169.254.169.254")))
    page = Endpoint(kind=PAGE, url="https://status.openai.com/")
    async with aiohttp.ClientSession(connector=connector) as session:
        with pytest.raises(TemporaryError, match="endpoint openai: it cannot be reached: Client"):
            await Endpoints({"openai": page}, session).ask("openai", PAGE)


def test_the_sessions_of_the_service_are_guarded_and_carry_nothing_along() -> None:
    async def look() -> None:
        async with endpoints.open_session() as session:
            assert isinstance(session.connector, aiohttp.TCPConnector)
            assert isinstance(session.connector._resolver, Guarded)
            assert not session.trust_env

    asyncio.run(look())
    assert refused_address(ip_address("127.0.0.1")) is None


async def test_a_sound_answer_is_its_json() -> None:
    async with endpoint_server() as server, asking(page=server.endpoint()) as (door, _):
        server.says({"status": {"indicator": "none"}})
        found = await door.ask("page", PAGE)
        assert (found.status, found.document) == (200, {"status": {"indicator": "none"}})
        ((path, headers),) = server.asked
        assert path == "/statusPage"
        assert headers["Accept-Encoding"] == "identity"
        assert "Authorization" not in headers
        assert "Cookie" not in headers


def redirects(server: EndpointServer) -> None:
    server.status = 302
    server.headers["Location"] = f"{server.url}/elsewhere"


def html(server: EndpointServer) -> None:
    server.headers["Content-Type"] = "text/html"


def packed(server: EndpointServer) -> None:
    server.body = gzip.compress(b" " * 10_000_000)
    server.headers["Content-Encoding"] = "gzip"


def body(content: bytes) -> Any:
    def change(server: EndpointServer) -> None:
        server.body = content

    return change


def status(code: int) -> Any:
    def change(server: EndpointServer) -> None:
        server.status = code

    return change


@pytest.mark.parametrize(
    ("badly", "why"),
    [
        (redirects, "it answered 302, and redirects are not followed"),
        (status(503), "it answered 503"),
        (status(401), "it answered 401"),
        (status(206), "it answered 206"),
        (html, "it answered with something else than JSON"),
        (packed, "its answer is no JSON"),
        (body(b"<html>hunter2"), "its answer is no JSON"),
        (body(b"\xff\xfe\x00"), "its answer is no JSON"),
        (body(b""), "its answer is no JSON"),
        (body(b"[" * 60_000), "its answer is no JSON"),
        (body(b" " * 65_537), "the answer is larger than 65536 bytes"),
    ],
    ids=[
        "redirect",
        "503",
        "401",
        "206",
        "HTML",
        "packed",
        "no JSON",
        "no text",
        "nothing",
        "too deep",
        "huge",
    ],
)
async def test_what_is_no_sound_answer_is_none(badly: Any, why: str) -> None:
    async with endpoint_server() as server, asking(page=server.endpoint()) as (door, _):
        badly(server)
        with pytest.raises(TemporaryError) as caught:
            await door.ask("page", PAGE)
        assert str(caught.value) == f"endpoint page: {why}"
        assert len(server.asked) == 1


@pytest.mark.parametrize("after_head", [False, True], ids=["never begins", "never ends"])
async def test_a_late_answer_is_none(after_head: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(endpoints, "ANSWER_TIMEOUT_SECONDS", 0.1)
    async with endpoint_server() as server, asking(page=server.endpoint()) as (door, _):
        server.after_head = after_head
        server.answering.clear()
        with pytest.raises(TemporaryError, match="endpoint page: it did not answer in time"):
            await door.ask("page", PAGE)


async def test_nobody_there_is_said_without_the_address() -> None:
    async with endpoint_server() as server:
        gone = server.endpoint()
    async with asking(page=gone) as (door, _):
        with pytest.raises(TemporaryError) as caught:
            await door.ask("page", PAGE)
        assert "cannot be reached" in str(caught.value)
        assert "127.0.0.1" not in str(caught.value)


async def test_https_means_a_certificate_that_is_trusted() -> None:
    async with endpoint_server() as server:
        page = Endpoint(kind=PAGE, url=server.url.replace("http://", "https://"))
        async with asking(page=page) as (door, _):
            with pytest.raises(TemporaryError, match="cannot be reached"):
                await door.ask("page", PAGE)
        assert server.asked == []


async def test_health_is_the_status_whatever_it_is_and_the_body_is_not_read() -> None:
    async with endpoint_server() as server, asking(api=server.endpoint(HEALTH)) as (door, steady):
        server.status = 503
        server.after_head = True
        server.answering.clear()
        found = await door.ask("api", HEALTH)
        assert (found.status, found.document) == (503, None)
        redirects(server)
        steady.seconds += 60
        assert (await door.ask("api", HEALTH)).status == 302
        assert {path for path, _ in server.asked} == {"/health"}


async def test_an_answer_is_kept_for_half_a_minute() -> None:
    async with endpoint_server() as server, asking(page=server.endpoint()) as (door, steady):
        await asyncio.gather(*(door.ask("page", PAGE) for _ in range(20)))
        assert len(server.asked) == 1
        steady.seconds = 29.9
        await door.ask("page", PAGE)
        assert len(server.asked) == 1
        steady.seconds = 30.0
        server.says(["new"])
        assert (await door.ask("page", PAGE)).document == ["new"]
        assert len(server.asked) == 2


async def test_who_is_in_trouble_is_not_asked_again_and_again_either() -> None:
    async with endpoint_server() as server, asking(page=server.endpoint()) as (door, steady):
        server.status = 500
        for _ in range(5):
            with pytest.raises(TemporaryError, match="it answered 500"):
                await door.ask("page", PAGE)
        assert len(server.asked) == 1
        steady.seconds, server.status = 31.0, 200
        assert (await door.ask("page", PAGE)).status == 200


async def test_who_gives_up_waiting_leaves_the_question_to_the_next() -> None:
    async with endpoint_server() as server, asking(page=server.endpoint()) as (door, _):
        server.answering.clear()
        first = asyncio.create_task(door.ask("page", PAGE))
        await server.arrived.wait()
        second = asyncio.create_task(door.ask("page", PAGE))
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first
        server.answering.set()
        assert (await second).status == 200


async def test_the_token_is_read_for_each_request_and_never_shown(tmp_path: Path) -> None:
    token = tmp_path / "token"
    async with endpoint_server() as server:
        endpoint = server.endpoint(BREAKERS, token_file=str(token))
        async with asking(breakers=endpoint) as (door, steady):
            with pytest.raises(PermanentError, match=r"the token file .* cannot be read"):
                await door.ask("breakers", BREAKERS)
            for bad in ("", "two words", "hunter2\r\nX-Admin: yes", "hunterß"):
                token.write_text(bad, encoding="utf-8")
                with pytest.raises(PermanentError) as caught:
                    await door.ask("breakers", BREAKERS)
                assert "hunter" not in str(caught.value)
            assert server.asked == []
            token.write_text("hunter2\n")
            server.status = 401
            with pytest.raises(TemporaryError) as refused:
                await door.ask("breakers", BREAKERS)
            assert "hunter2" not in str(refused.value)
            token.write_text("changed")
            steady.seconds, server.status = 31.0, 200
            await door.ask("breakers", BREAKERS)
        said = [headers["Authorization"] for _, headers in server.asked]
        assert said == ["Bearer hunter2", "Bearer changed"]
        assert "hunter2" not in repr(endpoint)


async def test_only_what_is_configured_is_asked_and_only_for_what_it_is() -> None:
    door = Endpoints({"openai": Endpoint(kind=PAGE, url="https://status.openai.com/")})
    with pytest.raises(PermanentError, match=r"no endpoint 'nobody' \(STANCH_ENDPOINTS_FILE has: openai\)"):
        await door.ask("nobody", PAGE)
    with pytest.raises(PermanentError, match="openai is of kind statusPage; this takes one of kind health"):
        await door.ask("openai", HEALTH)
    with pytest.raises(PermanentError, match="has: none"):
        await Endpoints().ask("openai", PAGE)


async def test_the_service_reads_its_file_and_closes_what_it_opened(tmp_path: Path) -> None:
    write_credentials(tmp_path)
    async with endpoint_server() as server, demo_world(scenario("inc-001"), WorldClock()) as world:
        file = written(tmp_path, f"page: {{kind: health, url: {server.url}}}")
        settings = Settings(
            listen="127.0.0.1:0",
            store=f"sqlite:///{tmp_path / 'stanch.sqlite3'}",
            prometheus_url=world.prometheus.url,
            webhook_token_file=tmp_path / "webhook-tokens",
            api_tokens_file=tmp_path / "api-tokens.yaml",
            endpoints_file=file,
        )
        door = await cluster.connect(url=world.api.url)
        with pytest.raises(PermanentError, match="page: url must begin with https"):
            async with serving(settings, door=door):
                pass
        written(tmp_path, f"page: {{kind: health, url: {server.url}, insecure: true}}")
        async with serving(settings, door=door) as service:
            outside = service.world.endpoints
            assert (await outside.ask("page", HEALTH)).status == 200
        await door.close()
        assert outside._session is not None
        assert outside._session.closed


def warm_up(requests: int = 5, name: str = "api") -> WarmUpStep:
    return WarmUpStep(ObjectRef("http", "Endpoint", "", name, "u"), requests)


@pytest.mark.parametrize("requests", [1, 4, 5])
async def test_a_warm_up_sends_so_many_requests_one_after_another_and_five_a_second(requests: int) -> None:
    async with endpoint_server() as server, asking(api=server.endpoint(WARM)) as (door, steady):
        answer = await door.warm(warm_up(requests))
        assert isinstance(answer, Applied)
        assert answer.told.startswith(
            f"{requests} of {requests} requests, all answered with 2xx, the slowest"
        )
        assert [path for path, _ in server.asked] == ["/warmUp"] * requests
        assert {(said["User-Agent"], said["Connection"]) for _, said in server.asked} == {
            ("stanch-warm-up", "close")
        }
        assert steady.seconds == pytest.approx(requests / 5)


@pytest.mark.parametrize("status", [200, 299])
async def test_what_is_answered_with_2xx_goes_on(status: int) -> None:
    async with endpoint_server() as server, asking(api=server.endpoint(WARM)) as (door, _):
        server.status = status
        assert isinstance(await door.warm(warm_up(3)), Applied)
        assert len(server.asked) == 3


@pytest.mark.parametrize("status", [300, 302, 401, 404, 409, 429, 500, 503])
async def test_the_first_request_that_is_not_answered_well_is_the_last(status: int) -> None:
    async with endpoint_server() as server, asking(api=server.endpoint(WARM)) as (door, _):
        server.then = [200, 200, status]
        answer = await door.warm(warm_up())
        assert isinstance(answer, Rejected)
        assert answer.sentence == f"endpoint api: it answered {status} (request 3 of 5); no more were sent"
        # Those say something of objects of the cluster, and not of this.
        assert answer.status not in (404, 409, 429)
        assert len(server.asked) == 3


async def test_no_answer_in_time_is_the_last_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(endpoints, "ANSWER_TIMEOUT_SECONDS", 0.05)
    async with endpoint_server() as server, asking(api=server.endpoint(WARM)) as (door, _):
        server.answering.clear()
        answer = await door.warm(warm_up())
        assert isinstance(answer, Rejected)
        assert "it did not answer in time (request 1 of 5)" in answer.sentence
        assert len(server.asked) == 1


async def test_a_step_that_takes_too_long_sends_no_more() -> None:
    async with endpoint_server() as server, asking(api=server.endpoint(WARM)) as (door, steady):

        def slow() -> None:
            steady.seconds += 2.0

        server.each = slow
        answer = await door.warm(warm_up())
        assert isinstance(answer, Applied)
        assert answer.told.startswith("3 of 5 requests")
        assert len(server.asked) == 3


@pytest.mark.parametrize("name", ["health", "nobody"])
async def test_only_an_endpoint_that_the_file_says_so_of_is_warmed_up(name: str) -> None:
    async with endpoint_server() as server, asking(health=server.endpoint(HEALTH)) as (door, _):
        answer = await door.warm(warm_up(name=name))
        assert isinstance(answer, Rejected)
        assert server.asked == []
        assert door.warmable(name) is None


async def test_another_address_is_another_object() -> None:
    async with endpoint_server() as server:
        here, there = server.endpoint(WARM), Endpoint(kind=WARM, url="https://elsewhere.example/")
        async with asking(here=here, there=there) as (door, _):
            found = [door.warmable(name) for name in ("here", "there")]
            assert found[0] is not None
            assert found[1] is not None
            assert found[0]["metadata"]["uid"] != found[1]["metadata"]["uid"]
            assert "127.0.0.1" not in str(found[0])


async def test_a_token_that_cannot_be_read_ends_a_warm_up(tmp_path: Path) -> None:
    async with endpoint_server() as server:
        endpoint = server.endpoint(WARM, token_file=tmp_path / "none")
        async with asking(api=endpoint) as (door, _):
            answer = await door.warm(warm_up())
            assert isinstance(answer, Rejected)
            assert "cannot be read" in answer.sentence
            assert server.asked == []


async def test_explaining_warms_nothing_up() -> None:
    door = ReadOnlyEndpoints({"api": Endpoint(kind=WARM, url="https://api.example/")})
    assert isinstance(await door.warm(warm_up()), Rejected)
