"""The nginx example of docs/reverse-proxy.md in front of a server, with a certificate of its own."""

from __future__ import annotations

import contextlib
import datetime
import ipaddress
import os
import pwd
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import requests
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.servers import Server, free_port, running
from tests.volumes import write_precomputed
from wkdvid.config import load_config

PAGE = (Path(__file__).parents[1] / "docs" / "reverse-proxy.md").read_text()
START_S = 30.0
MAIN = """
user {user};
worker_processes 1;
pid nginx.pid;
events {{ worker_connections 256; }}
http {{
    access_log every.log;
    client_body_temp_path temp-body;
    proxy_temp_path temp-proxy;
    fastcgi_temp_path temp-fastcgi;
    uwsgi_temp_path temp-uwsgi;
    scgi_temp_path temp-scgi;
    {example}
}}
"""
"""What a distribution's nginx.conf has around the example."""
BUCKET = {"position": [0, 0, 0], "mag": [1, 1, 1], "cubeSize": 32}


def write_certificate(folder: Path) -> None:
    """Self-signed, for 127.0.0.1."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "em.example.org")])
    now = datetime.datetime.now(datetime.UTC)
    builder = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
    certificate = (
        builder.not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    (folder / "certificate").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    encoding = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (folder / "key").write_bytes(key.private_bytes(*encoding))


def example(server_port: int, https: int, http: int) -> str:
    """The example with the ports and the files of this test, and nothing else changed."""
    text: str
    (text,) = re.findall(r"```nginx\n(.*?)```", PAGE, re.DOTALL)
    for written, here in {
        "127.0.0.1:8000": f"127.0.0.1:{server_port}",
        "listen 443 ssl": f"listen 127.0.0.1:{https} ssl",
        "listen 80": f"listen 127.0.0.1:{http}",
        "/etc/ssl/em.example.org.crt": "certificate",
        "/etc/ssl/em.example.org.key": "key",
        "/var/log/nginx/em.example.org.log": "access.log",
    }.items():
        assert written in text
        text = text.replace(written, here)
    return text


@contextlib.contextmanager
def nginx(folder: Path, config: str, port: int) -> Iterator[None]:
    program = shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin")
    assert program, "this test needs nginx (Debian: apt-get install nginx)"
    (folder / "nginx.conf").write_text(MAIN.format(user=pwd.getpwuid(os.geteuid()).pw_name, example=config))
    command = [program, "-p", str(folder), "-e", "stderr", "-c", "nginx.conf", "-g", "daemon off;"]
    with (folder / "nginx.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        end = time.monotonic() + START_S
        while process.poll() is None and time.monotonic() < end:
            with contextlib.suppress(requests.ConnectionError):
                requests.get(f"http://127.0.0.1:{port}/", allow_redirects=False, timeout=5)
                break
            time.sleep(0.02)
        assert process.poll() is None, (folder / "nginx.log").read_text()
        yield
    finally:
        process.terminate()
        process.wait(30)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[requests.Session, str, Server]]:
    """A session that trusts the proxy's certificate, the public URL, and the server behind it."""
    folder = tmp_path_factory.mktemp("proxy")
    write_certificate(folder)
    write_precomputed(folder / "data" / "em", [((1, 1, 1), np.full((64, 64, 64), 9, np.uint8))])
    datasets = {"precomputed": {"my lab": {"ds": {"uuid": "abcd", "layers": {"em": {"source": "em"}}}}}}
    https, http = free_port(), free_port()
    public = f"https://127.0.0.1:{https}"
    with running(folder / "data", datasets, environ={"WKDVID_SERVER__PUBLIC_URL": public}) as server:
        config = example(int(server.base.rpartition(":")[2]), https, http)
        with nginx(folder, config, http), requests.Session() as session:
            session.verify = str(folder / "certificate")
            session.trust_env = False
            moved = session.get(f"http://127.0.0.1:{http}/data/health?x=%20", allow_redirects=False)
            assert (moved.status_code, moved.headers["Location"]) == (301, "https://127.0.0.1/data/health?x=%20")
            session.get(f"{public}/data/datasets", params={"token": "a-token-of-somebody"})
            session.get(f"{public}/shared/a-token-of-somebody/data/datasets")
            yield session, public, server
            session.get(f"http://127.0.0.1:{http}/data?token=a-token-of-somebody", allow_redirects=False)
            session.get(f"http://127.0.0.1:{http}/shared/a-token-of-somebody", allow_redirects=False)
    logged = (folder / "access.log").read_text()
    assert '"GET /data/datasets" 200' in logged
    assert '"GET /data" 301' in logged
    assert '"GET /shared/.../data/datasets" 404' in logged
    assert not [log for log in folder.glob("*.log") if "a-token-of-somebody" in log.read_text()]
    assert "[error]" not in (folder / "nginx.log").read_text()


def test_the_configuration_is_one(tmp_path: Path) -> None:
    usual, apart = re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)
    (tmp_path / "apart.toml").write_text(apart)
    assert load_config(tmp_path / "apart.toml", {}, {}).server.trusted_proxies == ("172.18.0.0/16",)
    (tmp_path / "config.toml").write_text(usual)
    config = load_config(tmp_path / "config.toml", {}, {})
    assert (config.server.public_url, config.access.mode) == ("https://em.example.org", "token")


def test_both_protocols_come_through(site: tuple[requests.Session, str, Server]) -> None:
    session, public, _ = site
    assert session.get(f"{public}/data/health").text == "Ok"
    layer = f"{public}/data/datasets/my%20lab/ds/layers/em"
    buckets = session.post(f"{layer}/data", json=[BUCKET, {**BUCKET, "position": [640, 0, 0]}])
    assert (buckets.content, buckets.headers["Empty-Bucket-Indices"]) == (bytes([9]) * 32**3, "[1]")
    large = session.get(f"{layer}/data?x=0&y=0&z=0&width=512&height=512&depth=64&mag=1")
    assert len(large.content) == 512 * 512 * 64
    assert large.content.count(9) == 64**3
    part = session.get(f"{public}/data/zarr/my%20lab/ds/em/1/zarr.json", headers={"Range": "bytes=0-9"})
    assert (part.status_code, len(part.content)) == (206, 10)
    many = ",".join(["0,0,0"] * 5000)
    blocks = session.get(f"{public}/api/node/abcd/em/specificblocks?blocks={many}&compression=uncompressed")
    assert blocks.status_code == 200, "addresses of 30,000 characters"
    big = session.post(f"{layer}/data", data=b"[" + b" " * (2 << 20) + b"]")
    assert (big.status_code, big.content) == (200, b""), "bodies over nginx's usual limit"


def test_pages_of_the_main_server_may_read(site: tuple[requests.Session, str, Server]) -> None:
    """The CORS headers are there once."""
    session, public, _ = site
    headers = {"Origin": "https://webknossos.example", "Access-Control-Request-Method": "POST"}
    asked = {**headers, "Access-Control-Request-Headers": "content-type, x-auth-token"}
    allowed = session.options(f"{public}/data/datasets/x/layers/y/data", headers=asked)
    assert allowed.status_code == 200
    assert allowed.headers["Access-Control-Allow-Origin"] == "*"
    assert allowed.headers["Access-Control-Allow-Headers"] == "content-type, x-auth-token"
    answer = session.get(f"{public}/data/health", headers={"Origin": "https://webknossos.example"})
    assert answer.headers["Access-Control-Allow-Origin"] == "*"


def test_the_server_knows_its_public_name(site: tuple[requests.Session, str, Server]) -> None:
    """Addresses are given as clients reach them, whoever asks; pages under that name may change the catalog."""
    session, public, server = site
    for listed in (session.get(f"{public}/data/datasets"), server.get("/data/datasets")):
        (dataset,) = listed.json()
        assert dataset["addresses"]["webknossos"] == f"{public}/data/datasets/my%20lab/ds"
        assert dataset["addresses"]["neuroglancer"] == [f"dvid://{public}/abcd/em"]
    assert f"dvid://{public}/abcd/em" in session.get(f"{public}/datasets/my%20lab/ds").text
    reload = f"{public}/data/triggers/reload/my%20lab/ds"
    assert session.post(reload, headers={"Origin": public}).status_code == 200
    assert session.post(reload, headers={"Origin": "https://evil.example"}).status_code == 403
