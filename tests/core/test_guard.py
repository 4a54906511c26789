import asyncio
from collections.abc import Callable, Iterator
from ipaddress import ip_address
from pathlib import Path

import pytest
import tensorstore as ts

from tests.backends.s3 import s3_server
from wkdvid.core.credentials import Credentials, own_access, s3_options
from wkdvid.core.guard import Guard, check_name
from wkdvid.core.hosts import is_public
from wkdvid.errors import InvalidRequest, UpstreamUnavailable

BAD_NAMES = (
    *("", ".hidden", "a..b", "..", " a", "a ", "a/b", "a\\b", "a\n", "a\tb", "a\x00"),
    *("\u00e9", "\uff11", "a%41", "a" * 129),
)
FILE_FORMS = ("em", "em/", "./em", "{root}/em", "file://{root}/em", "file://localhost{root}/em", "file:{root}/e%6d/")
WITH_PARENTS = (
    *("em/../em", "..", "em\\..\\x", "file:///{root}/em/%2e%2e/em", "s3://bucket/%2e./b", "gs://bucket/a%2F..%2Fb"),
    *("gs://bucket/a/../b", "https://h/a/../b", "https://h/%2E%2e/b", "https://h/a%2f..%2fb", "https://h/..%5cx"),
)
UNREADABLE = (
    *("", " em", "em\n", "https://h/\ta", "x" * 5000, "\ud800", "https://", "https:///em", "https://h:x/"),
    *("https://h:99999/", "https://[::1", "https://h\u00e9.org/", "https://\uff11\uff12\uff17.0.0.1/", "https://a b/"),
    *("https://h/a\\b", "https://h/#a", "gs://", "gs://B_/x", "gs://bucket:80/x", "gs://bucket/a?b"),
    *("gs://bucket/a%00b", "s3://a/x", "file://other/em", "file:em"),
)
PRIVATE_HOSTS = (
    *("127.0.0.1", "localhost", "localhost.", "LOCALHOST", "a.localhost", "2130706433", "0x7f000001", "0x7f.1"),
    *("017700000001", "127.1", "0.0.0.0", "0", "10.1.2.3", "172.16.0.1", "192.168.0.1", "169.254.169.254"),
    *("100.64.0.1", "224.0.0.1", "240.0.0.1", "255.255.255.255", "[::1]", "[::]", "[::ffff:127.0.0.1]"),
    *("[::ffff:a9fe:a9fe]", "[fd00::1]", "[fe80::1]", "[ff02::1]", "[2002:7f00:1::]", "[64:ff9b::7f00:1]"),
    "[::7f00:1]",
)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """``data`` with one volume, beside it ``data-secret``."""
    (tmp_path / "data" / "em" / "s0").mkdir(parents=True)
    (tmp_path / "data-secret" / "em").mkdir(parents=True)
    return tmp_path / "data"


@pytest.fixture
def guard(root: Path) -> Guard:
    return Guard((root,), frozenset())


def refusal(act: Callable[[], object]) -> str:
    with pytest.raises(InvalidRequest) as caught:
        act()
    return str(caught.value)


class TestNames:
    @pytest.mark.parametrize("text", ["a", "Test Organization", "em_1.v2", "x@y$z-", "a" * 128])
    def test_good(self, text: str) -> None:
        assert check_name("dataset", text) == text

    @pytest.mark.parametrize("text", BAD_NAMES)
    def test_bad(self, text: str) -> None:
        assert "1 to 128 of A-Z" in refusal(lambda: check_name("organization", text))

    def test_a_layer_has_no_space(self) -> None:
        assert "layer: 'a b' is not a name" in refusal(lambda: check_name("layer", "a b"))

    def test_a_long_name_is_not_repeated_whole(self) -> None:
        assert len(refusal(lambda: check_name("layer", "x" * 100_000))) < 400


class TestLocalPaths:
    def test_inside(self, guard: Guard, root: Path) -> None:
        assert guard.local_path("em") == root / "em"
        assert guard.local_path(root / "em" / ".." / "em") == root / "em"
        assert guard.local_path(root) == root

    def test_a_root_is_no_prefix(self, guard: Guard, root: Path) -> None:
        assert "outside" in refusal(lambda: guard.local_path(f"{root}-secret/em"))

    @pytest.mark.parametrize("path", ["../data-secret/em", "/", "/etc/passwd", "em/../../data-secret", "a\x00b"])
    def test_outside(self, guard: Guard, path: str) -> None:
        message = refusal(lambda: guard.local_path(path))
        assert "outside the directories" in message
        assert "sources.file_roots" in message

    def test_a_link_out_is_refused_without_saying_where_it_leads(self, guard: Guard, root: Path) -> None:
        (root / "link").symlink_to(root.parent / "data-secret")
        message = refusal(lambda: guard.parse_source("link/em"))
        assert "'link/em'" in message
        assert "data-secret" not in message
        assert str(root) not in message

    def test_what_is_outside_looks_the_same_whether_it_exists_or_not(self, guard: Guard, root: Path) -> None:
        there, absent = (refusal(lambda name=name: guard.local_path(f"{root}-secret/{name}")) for name in ("em", "no"))  # type: ignore[misc]
        assert there == absent.replace("/no'", "/em'")

    def test_a_link_inside_and_a_root_that_is_a_link(self, root: Path) -> None:
        (root / "alias").symlink_to(root / "em")
        (root.parent / "mount").symlink_to(root)
        guard = Guard((root.parent / "mount",), frozenset())
        assert guard.local_path("alias") == root / "em"
        assert guard.parse_source(f"{root}/em").path == f"{root}/em/"

    def test_a_later_link_is_seen_at_the_next_opening(self, guard: Guard, root: Path) -> None:
        assert guard.parse_source("em").path == f"{root}/em/"
        (root / "em").rename(root / "old")
        (root / "em").symlink_to(root.parent / "data-secret")
        assert "outside" in refusal(lambda: guard.parse_source("em"))

    def test_a_link_to_itself(self, guard: Guard, root: Path) -> None:
        (root / "loop").symlink_to(root / "loop")
        assert guard.local_path("loop").parent == root

    def test_no_roots_no_files(self) -> None:
        assert "outside" in refusal(lambda: Guard((), frozenset()).parse_source("/"))

    def test_the_root_directory_as_a_root(self) -> None:
        assert Guard((Path("/"),), frozenset()).parse_source("/").kvstore == {"driver": "file", "path": "/"}


class TestParsing:
    @pytest.mark.parametrize("text", FILE_FORMS)
    def test_file_forms(self, guard: Guard, root: Path, text: str) -> None:
        source = guard.parse_source(text.format(root=root))
        assert source.kvstore == {"driver": "file", "path": f"{root}/em/"}
        assert source.url == f"file://{root}/em/"
        assert source.name in ("em/", "./em/")

    def test_the_name_of_a_file_is_what_was_written_below_its_root(self, root: Path) -> None:
        (root / "link").symlink_to(root / "em")
        (root.parent / "mount").symlink_to(root.parent / "data-secret")
        guard = Guard((root, root.parent / "mount"), frozenset())
        for given, name in (
            ("link", "link/"),
            (f"{root}/link", "link/"),
            (f"{root}", "./"),
            (f"{root.parent}/mount/em", "mount/em/"),
            (f"{root.parent}/data-secret/em", "mount/em/"),
        ):
            assert guard.parse_source(given).name == name
        (root.parent / "other").symlink_to(root)
        assert guard.parse_source(f"{root.parent}/other/em").name == ".../em/"
        assert guard.child(guard.parse_source("link"), "s0").name == "link/s0/"
        assert guard.child(guard.parse_source("link"), "").name == "link/"
        assert guard.child(guard.parse_source("https://h/em?sig=s3cr3t"), "s0").name == "https://h/em/s0/"

    def test_a_plain_path_is_not_percent_decoded(self, guard: Guard, root: Path) -> None:
        (root / "a%20b").mkdir()
        assert guard.parse_source("a%20b").path == f"{root}/a%20b/"
        assert guard.parse_source(f"file://{root}/a%2520b").path == f"{root}/a%20b/"
        assert guard.parse_source("a%20b").url.endswith("/a%2520b/")

    @pytest.mark.parametrize(
        ("text", "url", "base_url"),
        [
            ("https://h.org", "https://h.org/", "https://h.org/"),
            ("HTTPS://H.org:81/a b", "https://h.org:81/a%20b/", "https://h.org:81/a%20b/"),
            ("https://h/a%2Fb%2520", "https://h/a%2Fb%2520/", "https://h/a%2Fb%2520/"),
            ("https://[::1]:81/a", "https://[::1]:81/a/", "https://[::1]:81/a/"),
            ("https://h/a?sig=s3cr3t", "https://h/a/", "https://h/a/?sig=s3cr3t"),
        ],
    )
    def test_urls(self, guard: Guard, text: str, url: str, base_url: str) -> None:
        source = guard.parse_source(text)
        assert (source.url, source.kvstore) == (url, {"driver": "http", "base_url": base_url})
        assert "s3cr3t" not in repr(source)
        assert ts.KvStore.Spec(source.kvstore).url.startswith(url.rstrip("/"))

    @pytest.mark.parametrize(
        ("text", "url", "kvstore"),
        [
            ("gs://bucket/a%20b", "gs://bucket/a%20b/", {"driver": "gcs", "bucket": "bucket", "path": "a b/"}),
            ("gs://bucket", "gs://bucket/", {"driver": "gcs", "bucket": "bucket", "path": ""}),
            ("s3://bucket/a/", "s3://bucket/a/", {"driver": "s3", "bucket": "bucket", "path": "a/"}),
        ],
    )
    def test_buckets(self, guard: Guard, text: str, url: str, kvstore: dict[str, object]) -> None:
        source = guard.parse_source(text)
        anonymous = {"aws_credentials": {"type": "anonymous"}} if text.startswith("s3") else {}
        assert (source.url, source.kvstore) == (url, kvstore | anonymous)
        assert ts.KvStore.Spec(source.kvstore).url == url

    @pytest.mark.parametrize("hint", ["precomputed", "zarr", "zarr2", "zarr3", "n5", "wkw", "tiff"])
    def test_a_format_before_it_is_remembered(self, guard: Guard, root: Path, hint: str) -> None:
        source = guard.parse_source(f"{hint}://gs://bucket/em")
        assert (source.format_hint, source.url) == (hint, "gs://bucket/em/")
        assert guard.parse_source(f"{hint}://{root}/em").kvstore == {"driver": "file", "path": f"{root}/em/"}
        assert guard.parse_source("gs://bucket/em").format_hint is None

    @pytest.mark.parametrize("text", WITH_PARENTS)
    def test_parents_are_refused(self, guard: Guard, root: Path, text: str) -> None:
        assert "holds '..'" in refusal(lambda: guard.parse_source(text.format(root=root)))

    @pytest.mark.parametrize("scheme", ["ftp", "data", "unix", "zip", "ocdbt", "memory", "s3+http", "precomputed"])
    def test_other_schemes_are_refused_by_name(self, guard: Guard, scheme: str) -> None:
        message = refusal(lambda: guard.parse_source(f"zarr://{scheme}://x/y"))
        assert f"scheme '{scheme}' is not offered" in message
        assert "https, gs, s3" in message

    @pytest.mark.parametrize(
        "text", ["file:///x.zip|zip:a|zarr2:", "gs://bucket/em/|neuroglancer-precomputed:", "em|zip:"]
    )
    def test_pipelines_are_refused(self, guard: Guard, text: str) -> None:
        assert "pipeline" in refusal(lambda: guard.parse_source(text))

    @pytest.mark.parametrize(
        "text", ["https://u:s3cr3t@h/em", "s3://AKIA:s3cr3t@bucket/em", "gs://s3cr3t@bucket", "https://u:s3/cr3t@h/"]
    )
    def test_credentials_are_refused_and_not_repeated(self, guard: Guard, text: str) -> None:
        assert "cr3t" not in refusal(lambda: guard.parse_source(text))

    @pytest.mark.parametrize("text", UNREADABLE)
    def test_what_cannot_be_read_is_refused(self, guard: Guard, text: str) -> None:
        assert refusal(lambda: guard.parse_source(text)).startswith("source: ")


class TestChildren:
    def test_below_and_beside(self, guard: Guard, root: Path) -> None:
        (root / "other").mkdir()
        source = guard.parse_source("precomputed://em")
        assert guard.child(source, "s0").path == f"{root}/em/s0/"
        assert guard.child(source, "../other").path == f"{root}/other/"
        assert guard.child(source, "./s0//").path == f"{root}/em/s0/"
        assert guard.child(source, "s0").format_hint == "precomputed"

    @pytest.mark.parametrize(
        "key", ["../../data-secret/em", "/etc", "file:///etc", "..\\x", "a\x00", "../" * 40 + "etc"]
    )
    def test_a_file_stays_in_the_roots(self, guard: Guard, root: Path, key: str) -> None:
        message = refusal(lambda: guard.child(guard.parse_source("em"), key))
        assert str(root) not in message

    def test_a_link_below_is_followed_first(self, guard: Guard, root: Path) -> None:
        (root / "em" / "s1").symlink_to(root.parent / "data-secret")
        assert "'s1'" in refusal(lambda: guard.child(guard.parse_source("em"), "s1"))

    def test_a_url_moves_on_its_origin(self, guard: Guard) -> None:
        source = guard.parse_source("https://h/a/b%2Fc?sig=1")
        assert guard.child(source, "../x y").kvstore["base_url"] == "https://h/a/x%20y/?sig=1"
        assert guard.child(source, "evil.org/x").url == "https://h/a/b%2Fc/evil.org/x/"
        assert guard.child(source, "b?c#d%2e").url == "https://h/a/b%2Fc/b%3Fc%23d%252e/"

    @pytest.mark.parametrize("key", ["//evil.org/x", "https://evil.org/", "../../../x", "\\\\evil.org"])
    def test_a_url_stays_on_its_origin(self, guard: Guard, key: str) -> None:
        source = guard.parse_source("https://h/a/b%2Fc")
        assert "key " in refusal(lambda: guard.child(source, key))

    def test_a_bucket_is_not_left(self, guard: Guard) -> None:
        source = guard.parse_source("gs://bucket/a/b")
        assert guard.child(source, "../c").url == "gs://bucket/a/c/"
        assert guard.child(source, "../..").kvstore == {"driver": "gcs", "bucket": "bucket", "path": ""}
        assert "out of the source's store" in refusal(lambda: guard.child(source, "../../../other/x"))


class TestHosts:
    @pytest.mark.parametrize("host", PRIVATE_HOSTS)
    async def test_private_addresses_are_refused_in_every_spelling(self, guard: Guard, host: str) -> None:
        with pytest.raises(InvalidRequest, match=r"not on the public internet.*sources\.http_hosts"):
            await guard.check_host(guard.parse_source(f"https://{host}/em"))

    @pytest.mark.parametrize("host", ["8.8.8.8", "[2001:4860:4860::8888]", "[::ffff:8.8.8.8]", "[64:ff9b::808:808]"])
    async def test_public_addresses_pass_by_https_alone(self, guard: Guard, host: str) -> None:
        await guard.check_host(guard.parse_source(f"https://{host}:444/em"))
        with pytest.raises(InvalidRequest, match="use https"):
            await guard.check_host(guard.parse_source(f"http://{host}/em"))

    @pytest.mark.parametrize(
        ("listed", "good", "bad"),
        [
            ("localhost", "http://LOCALHOST:81/", "https://127.0.0.1/"),
            ("LocalHost:81", "http://localhost:81/", "http://localhost:82/"),
            ("127.0.0.1:80", "http://127.0.0.1/", "https://127.0.0.1/"),
            ("[::1]:81", "http://[::1]:81/", "http://[::1]/"),
            ("::1", "http://[::1]:5/", "http://[::2]/"),
        ],
    )
    async def test_listed_hosts_pass(self, listed: str, good: str, bad: str) -> None:
        guard = Guard((), frozenset({listed}))
        await guard.check_host(guard.parse_source(good))
        with pytest.raises(InvalidRequest):
            await guard.check_host(guard.parse_source(bad))

    async def test_buckets_and_files_pass_and_checks_run_at_once(self, guard: Guard) -> None:
        texts = ["gs://bucket/x", "s3://bucket/x", "em", *(f"https://8.8.8.{n}/" for n in range(20))]
        await asyncio.gather(*(guard.check_host(guard.parse_source(text)) for text in texts))

    @pytest.mark.parametrize("host", ["nowhere.invalid", "a" * 70 + ".org", "..."])
    async def test_a_name_without_address(self, guard: Guard, host: str) -> None:
        with pytest.raises(UpstreamUnavailable, match="cannot be resolved"):
            await guard.check_host(guard.parse_source(f"https://{host}/"))

    @pytest.mark.parametrize(
        ("address", "public"), [("1.1.1.1", True), ("10.0.0.1", False), ("::ffff:10.0.0.1", False)]
    )
    def test_public(self, address: str, public: bool) -> None:
        assert is_public(ip_address(address)) is public


class TestSpecs:
    def test_a_spec_is_made_anew(self, guard: Guard, root: Path) -> None:
        driver = {"driver": "neuroglancer_precomputed", "scale_index": 1}
        given = {**driver, "kvstore": {"driver": "file", "path": str(root)}, "path": "em"}
        checked = guard.check_spec(given)
        assert checked == {**driver, "kvstore": {"driver": "file", "path": f"{root}/em/"}}
        assert given["path"] == "em"

    @pytest.mark.parametrize(
        ("kvstore", "expected"),
        [
            ("gs://bucket/em", {"driver": "gcs", "bucket": "bucket", "path": "em/"}),
            (
                {"driver": "gcs", "bucket": "bucket", "path": "a b"},
                {"driver": "gcs", "bucket": "bucket", "path": "a b/"},
            ),
            ({"driver": "http", "base_url": "https://h", "path": "/a"}, {"driver": "http", "base_url": "https://h/a/"}),
            ({"driver": "http", "base_url": "https://h/a?b=1"}, {"driver": "http", "base_url": "https://h/a/?b=1"}),
            (
                {"driver": "s3", "bucket": "bucket"},
                {"driver": "s3", "bucket": "bucket", "path": "", "aws_credentials": {"type": "anonymous"}},
            ),
        ],
    )
    @pytest.mark.parametrize("driver", ["neuroglancer_precomputed", "zarr", "zarr2", "zarr3", "n5"])
    def test_stores(self, guard: Guard, driver: str, kvstore: object, expected: object) -> None:
        checked = guard.check_spec({"driver": driver, "kvstore": kvstore})
        assert checked == {"driver": driver, "kvstore": expected}
        assert ts.Spec(checked).kvstore == ts.KvStore.Spec(checked["kvstore"])

    @pytest.mark.parametrize(
        ("change", "complaint"),
        [
            ({"create": True}, "spec: 'create' is not allowed"),
            ({"open": True}, "'open'"),
            ({"delete_existing": True}, "'delete_existing'"),
            ({"context": {}}, "'context'"),
            ({"cache_pool": {}}, "'cache_pool'"),
            ({"base": {}}, "'base'"),
            ({"driver": "auto"}, "spec.driver: not offered"),
            ({"driver": ["zarr"]}, "spec.driver: not offered"),
            ({"kvstore": None}, "spec.kvstore: missing"),
            ({"kvstore": {}}, "spec.kvstore.driver: not offered"),
            ({"kvstore": {"driver": ["file"]}}, "spec.kvstore.driver: not offered"),
            ({"kvstore": {"driver": "zip", "base": "file:///x"}}, "spec.kvstore.driver: not offered"),
            ({"kvstore": {"driver": "file", "path": "/etc"}}, "outside"),
            ({"kvstore": {"driver": "file", "path": "em/../em"}}, "'..'"),
            ({"kvstore": {"driver": "file", "path": 3}}, "spec.kvstore.path: not a string"),
            ({"kvstore": "file:///x.zip|zip:"}, "pipeline"),
            ({"kvstore": {"driver": "http", "base_url": "file:///etc"}}, "outside"),
            ({"kvstore": {"driver": "http", "base_url": "gs://bucket"}}, "base_url: not an http"),
            ({"kvstore": {"driver": "http", "base_url": "https://h", "path": "../x"}}, "'..'"),
            ({"kvstore": {"driver": "http", "base_url": "https://h", "headers": ["A: s3cr3t"]}}, "'headers'"),
            ({"kvstore": {"driver": "s3", "bucket": "bucket", "endpoint": "http://10.0.0.1"}}, "'endpoint'"),
            ({"kvstore": {"driver": "s3", "bucket": "bucket", "aws_credentials": "s3cr3t"}}, "'aws_credentials'"),
            ({"kvstore": {"driver": "gcs", "bucket": "bucket", "context": {}}}, "'context'"),
            ({"path": "../../data-secret"}, "outside"),
        ],
    )
    def test_refused_by_name(self, guard: Guard, change: dict[str, object], complaint: str) -> None:
        message = refusal(lambda: guard.check_spec({"driver": "zarr3", "kvstore": "em", **change}))
        assert complaint in message
        assert "s3cr3t" not in message


@pytest.fixture(scope="module")
def s3_endpoint() -> Iterator[str]:
    with s3_server() as (endpoint, client):
        client.create_bucket(Bucket="bucket")
        client.put_object(Bucket="bucket", Key="a b/info", Body=b"public", ACL="public-read")
        client.put_object(Bucket="bucket", Key="closed/info", Body=b"closed")
        yield endpoint


class TestS3:
    def read(self, environ: dict[str, str], url: str) -> bytes:
        guard = Guard((), frozenset(), Credentials(otherwise=own_access(environ)))
        store = ts.KvStore.open(guard.parse_source(url).kvstore).result()
        return bytes(store.read("info").result(timeout=20).value)

    def test_anonymous_by_default(self, s3_endpoint: str) -> None:
        environ = {"AWS_ENDPOINT_URL": s3_endpoint, "AWS_REGION": "us-east-1"}
        assert self.read(environ, "s3://bucket/a%20b") == b"public"
        with pytest.raises(ValueError, match="PERMISSION_DENIED"):
            self.read(environ, "s3://bucket/closed")

    def test_credentials_of_the_environment(self, s3_endpoint: str, monkeypatch: pytest.MonkeyPatch) -> None:
        environ = {"AWS_ENDPOINT_URL": s3_endpoint, "AWS_ACCESS_KEY_ID": "id", "AWS_SECRET_ACCESS_KEY": "key"}
        for name, value in environ.items():
            monkeypatch.setenv(name, value)
        assert self.read(environ, "s3://bucket/closed") == b"closed"
        source = Guard((), frozenset(), Credentials(otherwise=own_access(environ))).parse_source("s3://bucket/closed")
        assert source.kvstore["aws_credentials"] == {"type": "environment"}

    def test_a_profile_and_no_region_without_an_endpoint(self) -> None:
        files = {"AWS_SHARED_CREDENTIALS_FILE": "/keys", "AWS_CONFIG_FILE": "/nowhere/config"}
        options = dict(s3_options({"AWS_PROFILE": "lab", "AWS_REGION": "eu-west-1", **files}))
        named = {"profile": "lab", "credentials_file": "/keys", "config_file": "/dev/null"}
        assert options == {"aws_credentials": {"type": "profile", **named}}
        assert ts.KvStore.Spec({"driver": "s3", "bucket": "bucket", **options}).url == "s3://bucket/"
