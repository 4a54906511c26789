import pickle
import re
import tomllib
from dataclasses import replace
from pathlib import Path

import pytest

from wkdvid.config import SCHEMA, Config, load_config
from wkdvid.core.credentials import Credential, check_present
from wkdvid.errors import ConfigError

DOCS = Path(__file__).parent.parent / "docs" / "configuration.md"
SHIPPED = DOCS.parent.parent / "data" / "config.toml"
MIB = 1024**2


def write(folder: Path, text: str) -> Path:
    path = folder / "some.toml"
    path.write_text(text, encoding="utf-8")
    return path


def refusal(folder: Path, text: str, environ: dict[str, str] | None = None) -> str:
    with pytest.raises(ConfigError) as caught:
        load_config(write(folder, text), environ or {}, {})
    return str(caught.value)


def test_defaults_follow_the_data_directory(tmp_path: Path) -> None:
    config = load_config(None, {"WKDVID_DATA_DIR": str(tmp_path)}, {})
    assert config.server.address == ("127.0.0.1", 8000)
    assert config.access.mode == "open"
    assert config.datasets.path == tmp_path / "datasets.json"
    assert config.metadata.database_url == f"sqlite:///{tmp_path}/wkdvid.db"
    assert config.file_roots == (tmp_path,)
    assert config.file is None


def test_what_is_built_without_a_file_equals_what_is_loaded_from_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert load_config(None, {}, {}) == Config()


def test_command_line_before_environment_before_file(tmp_path: Path) -> None:
    path = write(tmp_path, "[server]\nworkers = 1\n[limits]\nbuckets = 10\nblocks = 11\n")
    environ = {"WKDVID_SERVER__WORKERS": "2", "WKDVID_LIMITS__BUCKETS": "20"}
    config = load_config(path, environ, {"server.workers": 3, "server.http_address": None})
    assert (config.server.workers, config.limits.buckets, config.limits.blocks) == (3, 20, 11)
    assert config.server.http_address == "127.0.0.1:8000"


@pytest.mark.parametrize("where", ["argument", "variable", "data directory"])
def test_where_the_file_is_found(tmp_path: Path, where: str) -> None:
    path = write(tmp_path, "[server]\nworkers = 7\n")
    environ = {"WKDVID_CONFIG": str(path)} if where == "variable" else {}
    overrides = {}
    if where == "data directory":
        path = path.rename(tmp_path / "config.toml")
        overrides = {"data_dir": tmp_path}
    config = load_config(path if where == "argument" else None, environ, overrides)
    assert (config.server.workers, config.file) == (7, path)


@pytest.mark.parametrize("variable", ["HTTPADDRESS", "HTTP_ADDRESS", "httpAddress"])
def test_spellings_of_a_variable(variable: str) -> None:
    config = load_config(None, {f"WKDVID_SERVER__{variable}": "[::1]:9000"}, {"data_dir": "nowhere"})
    assert config.server.address == ("::1", 9000)


def test_variables_hold_text_of_every_type(tmp_path: Path) -> None:
    environ = {
        "WKDVID_ACCESS__ALLOW_OPEN_NETWORK": "yes",
        "WKDVID_SOURCES__FILE_ROOTS": "/a,/b",
        "WKDVID_SOURCES__HTTP_HOSTS": "nas, minio:9000",
        "WKDVID_SOURCES__DEADLINE_S": "2.5",
        "WKDVID_SERVER__PUBLICURL": "",
        "WKDVIDENT": "another program's",
    }
    config = load_config(None, environ, {"data_dir": tmp_path})
    assert config.access.allow_open_network
    assert config.file_roots == (tmp_path, Path("/a"), Path("/b"))
    assert config.sources.http_hosts == {"nas", "minio:9000"}
    assert config.sources.deadline_s == 2.5
    assert config.server.public_url is None


@pytest.mark.parametrize(
    ("text", "size"),
    [("1GiB", 1024 * MIB), ("64 MiB", 64 * MIB), ("1.5KiB", 1536), ("2 MB", 2_000_000), ("7", 7), ("7B", 7)],
)
def test_sizes_with_units(text: str, size: int) -> None:
    assert load_config(None, {}, {"data_dir": "nowhere", "limits.chunk_bytes": text}).limits.chunk_bytes == size


@pytest.mark.parametrize(
    ("toml", "complaint"),
    [
        ('[server]\nhttpAdress = "x"', "unknown key 'server.httpAdress'; did you mean 'server.httpAddress'?"),
        ("[limits]\nbucket = 3", "unknown key 'limits.bucket'; did you mean 'limits.buckets'?"),
        ("[sourcs]\ncache_bytes = 3", "unknown section [sourcs]; did you mean 'sources'?"),
        ("[auth]\nx = 1", "unknown section [auth]"),
        ("server = 3", "server is not a section"),
        ("[server]\nworkers = 1.5", "server.workers: 1.5 is not a whole number, 0 or more"),
        ("[server]\nworkers = true", "server.workers: True is not a whole number"),
        ("[server]\nworkers = -1", "server.workers: -1 is not a whole number, 0 or more"),
        ("[limits]\nlevels = 0", "limits.levels: 0 is not a whole number, 1 or more"),
        ('[limits]\nchunk_bytes = "64 MiX"', "limits.chunk_bytes: '64 MiX' is not a number of bytes"),
        ("[limits]\nchunk_bytes = 0", "limits.chunk_bytes: 0 is not a number of bytes, 1 or more"),
        ("[limits]\nchunk_bytes = -5", "limits.chunk_bytes: -5 is not"),
        ("[sources]\ndeadline_s = 0", "sources.deadline_s: 0 is not a number of seconds above 0"),
        ("[sources]\ndeadline_s = nan", "sources.deadline_s: nan is not"),
        ("[sources]\nfile_roots = 3", "sources.file_roots: 3 is not a list"),
        ("[sources]\nfile_roots = [3]", "sources.file_roots: not a text"),
        ('[sources]\nhttp_hosts = ["http://nas/"]', "sources.http_hosts: 'http://nas/' is not 'host' or 'host:port'"),
        ('[clio]\ntest_user = "me"', "clio.test_user: 'me' is no email address"),
        ('[clio]\nurl_prefix = "clio"', "clio.url_prefix: 'clio' does not begin with '/', or ends with it"),
        ('[[clio.providers]]\nprovider = "google"', "clio.providers[0].audiences: missing"),
        ('[access]\nmode = "opne"', "access.mode: 'opne' is not one of open, token, webknossos"),
        ('[jobs]\nscheduler = "http://dask:8786"', "jobs.scheduler: not tcp://HOST:PORT or tls://HOST:PORT"),
        ('[jobs]\nscheduler = "tcp://dask"', "jobs.scheduler: not tcp://HOST:PORT"),
        ("[access]\nmode = [1]", "access.mode: [1] is not one of open, token"),
        ('[access]\nallow_open_network = "maybe"', "access.allow_open_network: 'maybe' is not true or false"),
        ('[server]\nhttpAddress = "127.0.0.1"', "'127.0.0.1' is not host:port"),
        ('[server]\nhttpAddress = "127.0.0.1:70000"', "is not host:port with a port of 0 to 65535"),
        ("[server\n", "not TOML: "),
        ('[store.em]\nengine = "ngprecomputed"', "store.em.ref: missing"),
        ('[store.em]\nengine = "ngprecomputed"\nref = "b"\nreff = "c"', "store.em.reff: not engine, ref"),
    ],
)
def test_refused_with_place_and_what_is_allowed(tmp_path: Path, toml: str, complaint: str) -> None:
    message = refusal(tmp_path, toml)
    assert complaint in message
    keys = ("server.httpAddress", "sources.http_hosts", "clio.", "jobs.scheduler")
    assert "some.toml" in message or any(key in message for key in keys)


@pytest.mark.parametrize(
    ("url", "complaint"),
    [
        ("https://bucket/folder", "https cannot be written to; a path, or file, s3, gs"),
        ("s3://x", "source: 'x' does not name a bucket"),
    ],
)
def test_a_place_for_volumes_that_is_none_is_refused(tmp_path: Path, url: str, complaint: str) -> None:
    assert f"volumes.url: {complaint}" in refusal(tmp_path, f'[volumes]\nurl = "{url}"')


@pytest.mark.parametrize("variable", ["WKDVID_SERVER__WORKER", "WKDVID_DATADIR", "WKDVID_SERVER__RPCADDRESS"])
def test_unknown_variable_is_refused(variable: str) -> None:
    with pytest.raises(ConfigError, match=f"environment variable {variable}: unknown key"):
        load_config(None, {variable: "1"}, {"data_dir": "nowhere"})


def test_unknown_option_and_missing_file_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"command line: unknown key 'server\.prot'"):
        load_config(None, {}, {"server.prot": 1})
    with pytest.raises(ConfigError, match=r"absent\.toml: cannot be read: No such file"):
        load_config(tmp_path / "absent.toml", {}, {})


@pytest.mark.parametrize("address", ["0.0.0.0:8000", ":8000", "[::]:8000", "10.0.0.1:80", "example.org:80"])
def test_open_mode_stays_on_loopback(address: str) -> None:
    options = {"data_dir": "nowhere", "server.http_address": address}
    with pytest.raises(ConfigError, match="allow_open_network"):
        load_config(None, {}, options)
    assert load_config(None, {}, {**options, "access.allow_open_network": True}).access.mode == "open"
    assert load_config(None, {}, {**options, "access.mode": "token"}).access.mode == "token"


def test_mode_webknossos_needs_a_main_server_and_a_key() -> None:
    options = {"data_dir": "nowhere", "access.mode": "webknossos", "server.http_address": "0.0.0.0:8000"}
    main = {"WKDVID_WEBKNOSSOS__URL": "https://webknossos.example.org", "WKDVID_WEBKNOSSOS__KEY": "$DATASTORE_KEY"}
    for missing in main:
        with pytest.raises(ConfigError, match=r"set webknossos\.url and webknossos\.key"):
            load_config(
                None, {name: value for name, value in main.items() if name != missing} | {"DATASTORE_KEY": "k"}, options
            )
    config = load_config(None, {**main, "DATASTORE_KEY": "s3cr3t"}, options)
    assert (config.webknossos.key, "s3cr3t" in repr(config)) == ("s3cr3t", False)


@pytest.mark.parametrize(
    "url",
    ["webknossos.org", "ftp://wk", "https://me:s3cr3t@wk", "https://wk/?key=s3cr3t", "http://", "http://wk:99999"],
)
def test_address_of_the_main_server_has_scheme_and_host_alone(url: str) -> None:
    with pytest.raises(ConfigError, match=r"webknossos\.url: not http://HOST") as caught:
        load_config(None, {}, {"data_dir": "nowhere", "webknossos.url": url})
    assert "s3cr3t" not in str(caught.value)


@pytest.mark.parametrize(
    ("public_url", "address", "url"),
    [
        ("https://em.example.org/", "127.0.0.1:8000", "https://em.example.org"),
        (None, "[::1]:9000", "http://[::1]:9000"),
        (None, ":8000", "http://127.0.0.1:8000"),
    ],
)
def test_where_others_reach_the_server(public_url: str | None, address: str, url: str) -> None:
    options = {"data_dir": "nowhere", "access.mode": "token", "server.http_address": address}
    config = load_config(None, {}, {**options, "server.public_url": public_url})
    assert config.server.own_url == url


@pytest.mark.parametrize("address", ["127.0.0.1:0", "localhost:8000", "[::1]:8000", "127.9.9.9:1"])
def test_open_mode_on_loopback(address: str) -> None:
    assert load_config(None, {}, {"data_dir": "nowhere", "server.http_address": address}).access.mode == "open"


def test_host_and_port_replace_their_part(tmp_path: Path) -> None:
    path = write(tmp_path, '[server]\nhttpAddress = "localhost:8123"\n')
    assert load_config(path, {}, {"port": 1}).server.address == ("localhost", 1)
    assert load_config(path, {}, {"host": "::1"}).server.address == ("::1", 8123)
    with pytest.raises(ConfigError, match="allow_open_network"):
        load_config(path, {}, {"host": "0.0.0.0"})


def test_secrets_come_by_reference_and_are_never_shown(tmp_path: Path) -> None:
    secret = tmp_path / "token"
    secret.write_text("s3cr3t-file\n", encoding="utf-8")
    text = f'[access]\nadmin_token = "file:{secret}"\n[webknossos]\nkey = "${{WK_KEY}}"\n'
    text += '[metadata]\ndatabase_url = "postgresql://u:s3cr3t-db@h/d"\n'
    config = load_config(write(tmp_path, text), {"WK_KEY": "s3cr3t-key"}, {})
    assert (config.access.admin_token, config.webknossos.key) == ("s3cr3t-file", "s3cr3t-key")
    assert "s3cr3t" not in repr(config)
    assert pickle.loads(pickle.dumps(config)) == config
    named = load_config(write(tmp_path, text), {"WK_KEY": "k", "WKDVID_ADMIN_TOKEN": "$from-env"}, {})
    assert named.access.admin_token == "$from-env"


@pytest.mark.parametrize(
    ("value", "complaint"),
    [("s3cr3t", "not written here"), ("$S3CR3T", "S3CR3T is not set"), ("file:/nowhere/x", "cannot be read")],
)
def test_secret_that_cannot_be_read(tmp_path: Path, value: str, complaint: str) -> None:
    message = refusal(tmp_path, f'[access]\nadmin_token = "{value}"')
    assert complaint in message
    assert "s3cr3t" not in message


CREDENTIALS = """
[sources.secrets]
"$BOSS_TOKEN" = ["https://api.lab.org/"]
[[sources.credentials]]
prefix = "s3://lab/em/"
profile = "em"
endpoint = "https://minio.lab.org:9000"
requester_pays = true
[[sources.credentials]]
prefix = "https://files.lab.org/em/"
bearer = "$TOKEN"
headers = { "X-Key" = "$KEY" }
"""


def test_credentials_of_sources_are_references(tmp_path: Path) -> None:
    environ = {"TOKEN": "s3cr3t-token", "KEY": "s3cr3t-key"}
    config = load_config(write(tmp_path, CREDENTIALS), environ, {})
    s3, web = config.sources.credentials
    assert (s3.prefix, s3.profile, s3.requester_pays, s3.environment) == ("s3://lab/em/", "em", True, False)
    assert (web.bearer, web.headers) == ("$TOKEN", {"X-Key": "$KEY"})
    assert config.sources.secrets == {"$BOSS_TOKEN": ("https://api.lab.org/",)}
    assert "s3cr3t" not in repr(config)
    assert pickle.loads(pickle.dumps(config)) == config


@pytest.mark.parametrize(
    ("table", "complaint"),
    [
        ('profile = "em"', "[0].prefix: missing"),
        ('prefix = "lab/em"\nenvironment = true', "[0]: environment is not for file; of file there are none"),
        ('prefix = "ftp://lab/em"\nenvironment = true', "[0]: prefix: source: scheme 'ftp' is not offered"),
        ('prefix = "s3://lab"', "[0]: nothing is granted for s3://lab; of s3 there are environment, profile"),
        ('prefix = "s3://lab"\nbearer = "$TOKEN"', "[0]: bearer is not for s3"),
        ('prefix = "gs://lab"\nprofile = "em"', "[0]: profile is not for gs; of gs there are environment, service"),
        ('prefix = "s3://lab"\nprofile = "em"\nenvironment = true', "[0]: environment and profile for s3://lab: one"),
        ('prefix = "s3://lab"\nprofil = "em"', "[0]: unknown key 'profil'; did you mean 'profile'?"),
        ('prefix = "s3://lab"\nprofile = 3', "[0].profile: not a text"),
        ('prefix = "https://lab.org"\nbearer = "s3cr3t"', "[0].bearer: a secret is not written here"),
        ('prefix = "https://lab.org"\nheaders = { X = "s3cr3t" }', "[0].headers: a secret is not written here"),
        ('prefix = "https://lab.org"\nheaders = ["$TOKEN"]', "[0].headers: not a table"),
        ('prefix = "https://lab.org"\nheaders = { "X Y" = "$TOKEN" }', "[0]: headers: 'X Y' cannot be the name"),
        ('prefix = "s3://lab"\nprofile = "a"\n[[sources.credentials]]\nprefix = "s3://lab/"\nprofile = "b"', "already"),
    ],
)
def test_credentials_that_are_refused(tmp_path: Path, table: str, complaint: str) -> None:
    message = refusal(tmp_path, f"[[sources.credentials]]\n{table}")
    assert complaint in message
    assert "s3cr3t" not in message


@pytest.mark.parametrize(
    ("credential", "complaint"),
    [
        (Credential(prefix="https://lab.org", bearer="$MISSING"), r"\$MISSING: no such secret"),
        (Credential(prefix="https://lab.org", bearer="$EMPTY"), r"\$EMPTY: no such secret"),
        (Credential(prefix="https://lab.org", headers={"X": "$LINES"}), r"\$LINES: .* none that can stand in a header"),
        (Credential(prefix="https://lab.org", bearer="file:/nowhere"), "file:/nowhere: no such secret"),
        (Credential(prefix="gs://lab", service_account=Path("/nowhere.json")), "there is no file /nowhere.json"),
    ],
)
def test_credentials_that_are_not_there(credential: Credential, complaint: str) -> None:
    environ = {"TOKEN": "t", "EMPTY": "", "LINES": "s3cr3t\r\nX: y"}
    check_present([Credential(prefix="https://lab.org/em", bearer="$TOKEN")], environ)
    with pytest.raises(ConfigError, match=complaint) as refused:
        check_present([credential], environ)
    assert "s3cr3t" not in str(refused.value)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("credentials = 3", "sources.credentials: not a list of tables"),
        ("credentials = [3]", "sources.credentials: not a list of tables"),
        ("secrets = 3", "sources.secrets: not a table"),
        ('secrets = { "s3cr3t" = ["https://lab.org"] }', "sources.secrets: a secret is not written here"),
        ('secrets = { "$TOKEN" = 3 }', "sources.secrets: 3 is not a list"),
    ],
)
def test_lists_of_credentials_that_are_none(tmp_path: Path, text: str, complaint: str) -> None:
    message = refusal(tmp_path, f"[sources]\n{text}")
    assert complaint in message
    assert "s3cr3t" not in message


def test_tokens_of_a_service_account_outlast_the_opening(tmp_path: Path) -> None:
    (tmp_path / "key.json").write_text("{}", encoding="utf-8")
    table = f'[[sources.credentials]]\nprefix = "gs://lab"\nservice_account = "{tmp_path}/key.json"\n'
    assert load_config(write(tmp_path, table), {}, {}).sources.credentials
    assert "sources.refresh_s is under 1800" in refusal(tmp_path, f"[sources]\nrefresh_s = 1800\n{table}")


@pytest.mark.parametrize(
    ("settings", "private"),
    [
        ({}, True),
        ({"access.mode": "token"}, False),
        ({"access.allow_open_network": True}, True),
        ({"access.allow_open_network": True, "server.http_address": "0.0.0.0:8000"}, False),
    ],
)
def test_only_an_open_server_on_loopback_is_its_operators_alone(settings: dict[str, object], private: bool) -> None:
    assert load_config(None, {}, {"data_dir": "nowhere", **settings}).private is private


def test_entries_hold_variables_of_the_operators_own_server_or_granted_ones() -> None:
    environ = {"EM": "em", "TOKEN": "hush"}
    own = load_config(None, {}, {"data_dir": "nowhere"})
    shared = load_config(None, {}, {"data_dir": "nowhere", "access.mode": "token", "sources.variables": "EM,NONE"})
    assert own.variables(environ) == environ
    assert shared.variables(environ) == {"EM": "em"}


def test_a_dvid_config_is_taken_over(tmp_path: Path) -> None:
    config = load_config(
        write(
            tmp_path,
            """
            [server]
            httpAddress = "localhost:8000"
            rpcAddress = "localhost:8001"
            webClient = "/opt/dvid-webclient"
            [logging]
            logfile = "/data/dvid/log"
            max_log_size = 500
            [backend]
                [backend.default]
                store = "mainstore"
            [store]
                [store.mainstore]
                engine = "basholeveldb"
                path = "/data/dvid/db/leveldb"
                [store.mystorage]
                engine = "ngprecomputed"
                ref = "s3://mybucket/sample1/image_aligned/"
                instance = "sample1"
                [store.seg]
                engine = "ngprecomputed"
                ref = "bucket/seg"
                dataset = "flyem/hemibrain"
            """,
        ),
        {},
        {},
    )
    assert config.ignored == (
        *("[logging]", "[backend]", "server.rpcAddress", "server.webClient", "[store.mainstore]"),
    )
    first, second = config.stores
    assert (first.alias, first.instance, first.dataset) == ("mystorage", "sample1", "dvid/main")
    assert first.ref == "s3://mybucket/sample1/image_aligned/"
    assert (second.instance, second.dataset) == ("seg", "flyem/hemibrain")


def documented_keys() -> list[tuple[str, str, str]]:
    """Section, key and default of each row of the tables."""
    sections = re.findall(
        r"^## `\[(\w+)\]`\n(.*?)(?=^## |\Z)", DOCS.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL
    )
    rows = r"^\| `(\w+)` \| (.+?) \|"
    return [(section, *row) for section, text in sections for row in re.findall(rows, text, re.MULTILINE)]


def test_every_key_is_documented_in_its_section() -> None:
    documented = [f"{section}.{key}" for section, key, _ in documented_keys()]
    assert documented == [name for section in SCHEMA.sections for name in SCHEMA.names(section)]


@pytest.mark.parametrize(("section", "key", "default"), documented_keys())
def test_documented_defaults_are_the_defaults(
    section: str, key: str, default: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    if re.fullmatch(r"`[^`]+`", default):
        text = f"[{section}]\n{key} = {default[1:-1]}\n"
        assert replace(load_config(write(tmp_path, text), {}, {}), file=None) == Config()
    elif default.endswith(" in the data directory"):
        file = default.split("`")[1]
        assert str(getattr(getattr(load_config(None, {}, {}), section), key)).endswith(f"data/{file}")
    else:
        assert default in ("none", "made and printed at start")
        attribute = re.sub("[A-Z]", lambda letter: f"_{letter[0].lower()}", key)
        assert getattr(getattr(Config(), section), attribute) is None


def test_the_shipped_file_shows_the_defaults(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    shown, count = re.subn(r"^# (?=\w+ = )", "", SHIPPED.read_text(encoding="utf-8"), flags=re.MULTILINE)
    assert count == len(re.findall("^#.* = ", SHIPPED.read_text(encoding="utf-8"), re.MULTILINE)) > 15
    assert sum(map(len, tomllib.loads(shown).values())) == count
    assert replace(load_config(write(tmp_path, shown), {}, {}), file=None) == Config()


def test_the_documented_example_loads(tmp_path: Path) -> None:
    example = re.findall(r"```toml\n(.*?)```", DOCS.read_text(encoding="utf-8"), re.DOTALL)[0]
    secret = tmp_path / "secret"
    secret.write_text("x", encoding="utf-8")
    path = write(tmp_path, example.replace("/run/secrets/wkdvid_admin", str(secret)))
    config = load_config(path, {}, {})
    assert config.limits.chunk_bytes == 128 * MIB
    assert config.server.cors_domains == tuple(tomllib.loads(example)["server"]["corsDomains"])
