"""What the project is built, installed and started with: pins, wheel, scripts, image, compose file."""

from __future__ import annotations

import ast
import os
import re
import shutil
import stat
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterator, Mapping
from email.parser import Parser
from functools import cache
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from sanic import Sanic

from wkdvid.codecs import surface
from wkdvid.config import load_config
from wkdvid.frontends.router import addresses
from wkdvid.server import create_app

ROOT = Path(__file__).parent.parent
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
SHELL = sorted(path for path in (ROOT / "scripts").iterdir() if path.suffix != ".py")
SCRIPTS = [*SHELL, ROOT / "benchmarks" / "run_all.sh", ROOT / ".ci" / "run"]
COMPOSE = ROOT / "docker-compose.yml"


def _run(*command: str | Path, cwd: Path = ROOT, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, **variables}
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=100, check=False)


def _pins() -> list[Requirement]:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    return [Requirement(line) for line in lines if line and not line.startswith("#")]


def _named() -> list[Requirement]:
    """Every requirement that pyproject.toml names: to run, to develop, to build."""
    build = tomllib.loads((ROOT / "pyproject.toml").read_text())["build-system"]["requires"]
    extras = [line for extra in PROJECT["optional-dependencies"].values() for line in extra if line[:7] != "wkdvid["]
    return [Requirement(line) for line in [*PROJECT["dependencies"], *extras, *build]]


def test_constraints_are_exact_and_name_no_address() -> None:
    assert len(_pins()) > 100
    for pin in _pins():
        assert re.fullmatch(r"==[^*]+", str(pin.specifier)), pin
        assert pin.url is None
    assert "//" not in (ROOT / "constraints.txt").read_text()
    names = [canonicalize_name(pin.name) for pin in _pins()]
    assert sorted(set(names)) == sorted(names)


def test_constraints_pin_and_satisfy_every_requirement() -> None:
    versions = {canonicalize_name(pin.name): str(pin.specifier).removeprefix("==") for pin in _pins()}
    for requirement in _named():
        pinned = versions.get(canonicalize_name(requirement.name))
        assert pinned is not None, f"{requirement} is not pinned"
        assert requirement.specifier.contains(pinned), f"{requirement} but pinned to {pinned}"


@cache
def _brought_by() -> Mapping[str, set[str]]:
    """The installed packages that each top-level module comes from."""
    return {module: set(map(canonicalize_name, names)) for module, names in packages_distributions().items()}


def _imported(folder: Path) -> set[str]:
    """Top-level names that a module, or the modules under a folder, import, wherever in them."""
    paths = folder.rglob("*.py") if folder.is_dir() else [folder]
    nodes = [node for path in paths for node in ast.walk(ast.parse(path.read_text()))]
    names = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    names |= {node.module for node in nodes if isinstance(node, ast.ImportFrom) and node.module}
    return {name.split(".")[0] for name in names} - sys.stdlib_module_names - {"wkdvid", "tests", "benchmarks"}


OTHERS = (
    *("backends", "client", "cluster", "codecs", "export", "identity", "testing", "tracing.py", "transfer"),
    "__pycache__",
)
SERVED = ("clio", "codecs", "distributed", "meshes", "postgres", "tiff", "trace", "transfer", "viewer")
"""Extras that a server may want."""
ELSEWHERE = {"webknossos"}
"""In an environment of its own: tests/clients/webknossos.txt."""


@pytest.mark.parametrize(
    ("folder", "extras"),
    [
        *((path.name, []) for path in (ROOT / "wkdvid").iterdir() if path.name not in OTHERS),
        ("backends", ["tiff"]),
        ("tracing.py", ["trace"]),
        ("client", ["client"]),
        ("cluster", ["distributed"]),
        ("codecs", ["codecs", "meshes"]),
        ("export", ["clio"]),
        ("identity", ["clio"]),
        ("testing", ["testing"]),
        ("transfer", ["transfer"]),
        ("../tests", [*SERVED, "client", "dev", "testing"]),
        ("../benchmarks", ["client", "dev", "testing", "tiff"]),
    ],
)
def test_every_import_is_of_a_requirement_that_is_named(folder: str, extras: list[str]) -> None:
    lines = [*PROJECT["dependencies"], *(line for extra in extras for line in PROJECT["optional-dependencies"][extra])]
    named = {canonicalize_name(Requirement(line).name) for line in lines}
    imported = _imported(ROOT / "wkdvid" / folder) - ELSEWHERE
    unnamed = {module for module in imported if not named & _brought_by().get(module, set())}
    assert not unnamed, f"{folder} imports what only other packages bring: {unnamed}"


def test_the_extra_all_is_all_that_a_server_may_want() -> None:
    assert PROJECT["optional-dependencies"]["all"] == [f"wkdvid[{','.join(SERVED)}]"]
    assert {*PROJECT["optional-dependencies"]} - {"all", *SERVED} == {"client", "dev", "docs", "profile", "testing"}


def test_every_extra_that_is_asked_for_is_there_and_is_described() -> None:
    sources = [*(ROOT / "wkdvid").rglob("*.py"), *(ROOT / "docs").rglob("*.md"), ROOT / "README.md"]
    text = "\n".join(path.read_text() for path in sources)
    brackets = {extra for names in re.findall(r"wkdvid\[([a-z,]+)\]", text) for extra in names.split(",")}
    called = set(re.findall(r"""\binstall\(["'](\w+)["']\)""", text)) | {surface.EXTRA}
    called |= set(re.findall(r"""\b(?:require|imported)\([^,()]+(?:\([^()]*\))?[^,()]*, "(\w+)",""", text))
    assert {"client", "clio", "codecs", "distributed", "postgres", "profile", "tiff", "trace", "transfer"} <= called
    assert brackets | called <= PROJECT["optional-dependencies"].keys()
    page = (ROOT / "docs" / "installing.md").read_text()
    extras = (*SERVED, "all", "client", "profile", "testing")
    assert [extra for extra in extras if f"| `{extra}` |" not in page] == []


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    """The wheel, built from a copy of what git would check out."""
    folder = tmp_path_factory.mktemp("wheel")
    shutil.copytree(ROOT / "wkdvid", folder / "source" / "wkdvid", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, folder / "source")
    command = (sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", folder)
    done = _run(*command, cwd=folder / "source")
    assert done.returncode == 0, done.stdout + done.stderr
    (path,) = folder.glob("*.whl")
    return zipfile.ZipFile(path)


def test_wheel_holds_the_package_alone(wheel: zipfile.ZipFile) -> None:
    names = set(wheel.namelist())
    modules = {str(path.relative_to(ROOT)) for path in (ROOT / "wkdvid").rglob("*.py")}
    assert modules | {"wkdvid/py.typed"} <= names
    assert {name.split("/")[0].split("-")[0] for name in names} == {"wkdvid"}
    assert any(name.endswith("licenses/LICENSE") for name in names)


def test_wheel_metadata(wheel: zipfile.ZipFile) -> None:
    (info,) = (name.split("/")[0] for name in wheel.namelist() if name.endswith(".dist-info/METADATA"))
    metadata = Parser().parsestr(wheel.read(f"{info}/METADATA").decode())
    version = re.search(r'__version__ = "(.+)"', (ROOT / "wkdvid" / "__init__.py").read_text())
    assert version is not None
    assert (metadata["Name"], metadata["Version"]) == ("wkdvid", version[1])
    assert (metadata["Requires-Python"], metadata["License-Expression"]) == (">=3.11", "Apache-2.0")
    assert "wkdvid = wkdvid.cli:main" in wheel.read(f"{info}/entry_points.txt").decode()


def test_license_is_the_whole_apache_license() -> None:
    text = (ROOT / "LICENSE").read_text()
    assert "Version 2.0, January 2004" in text
    assert "END OF TERMS AND CONDITIONS" in text


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_script_is_executable_and_parses(script: Path) -> None:
    assert script.stat().st_mode & stat.S_IXUSR
    if script.read_text().startswith("#!/usr/bin/env python3\n"):
        ast.parse(script.read_text())
        return
    assert script.read_text().startswith("#!/usr/bin/env bash\n")
    assert "\nset -euo pipefail\n" in script.read_text()
    done = _run("bash", "-n", script)
    assert done.returncode == 0, done.stderr


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A copy of as much of the checkout as scripts/setup looks at."""
    for name in ("pyproject.toml", "constraints.txt"):
        shutil.copy(ROOT / name, tmp_path)
    shutil.copytree(ROOT / "scripts", tmp_path / "scripts")
    return tmp_path


def _program(path: Path, text: str) -> Path:
    path.write_text("#!/usr/bin/env bash\n" + text)
    path.chmod(0o755)
    return path


def test_setup_refuses_an_old_python_in_plain_words(checkout: Path) -> None:
    old = _program(checkout / "python3.8", '[[ "$1" == --version ]] && echo "Python 3.8.20"\nexit 1\n')
    done = _run(checkout / "scripts" / "setup", PYTHON=str(old), WKDVID_VENV=str(checkout / "venv"))
    assert done.returncode == 1
    assert "is not Python 3.11 or newer: Python 3.8.20" in done.stderr
    assert not (checkout / "venv").exists()


def test_setup_installs_again_only_when_pins_or_project_changed(checkout: Path) -> None:
    """With a stand-in for the environment's interpreter that writes down how pip was called."""
    (checkout / "venv" / "bin").mkdir(parents=True)
    _program(checkout / "venv" / "bin" / "python", '[[ "$1" == -c ]] || echo "$*" >>"$(dirname "$0")/calls"\n')
    calls = checkout / "venv" / "bin" / "calls"

    def set_up(*extra: str) -> str:
        calls.unlink(missing_ok=True)
        done = _run(checkout / "scripts" / "setup", *extra, WKDVID_VENV=str(checkout / "venv"))
        assert done.returncode == 0, done.stderr
        return calls.read_text() if calls.exists() else ""

    assert re.search(r"--constraint constraints.txt .*--editable \.$", set_up(), re.MULTILINE)
    assert set_up() == ""
    assert re.search(r"--editable \.\[dev\]$", set_up("dev"), re.MULTILINE)
    assert set_up("dev") == ""
    with (checkout / "constraints.txt").open("a") as constraints:
        constraints.write("# changed\n")
    assert "--editable" in set_up("dev")
    assert "--editable" in set_up()


def test_start_makes_a_missing_sample_then_serves(tmp_path: Path) -> None:
    """With a stand-in for ``wkdvid`` that writes down how it was called."""
    (tmp_path / "bin").mkdir()
    _program(tmp_path / "bin" / "wkdvid", 'echo "$*"\n')
    data = tmp_path / "data"
    data.mkdir()

    def start() -> list[str]:
        path = f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}"
        done = _run(ROOT / "scripts" / "start", "data", "--port", "1", cwd=tmp_path, PATH=path)
        assert done.returncode == 0, done.stderr
        return done.stdout.splitlines()

    assert start() == ["sample --data-dir data", "serve --data-dir data --port 1"]
    (data / "sample").mkdir()
    assert start() == ["serve --data-dir data --port 1"]


def _stages() -> dict[str, list[str]]:
    """Instructions of each build stage of the Dockerfile, continued lines joined, by the stage's name."""
    text = re.sub(r"\\\n\s*", "", (ROOT / "Dockerfile").read_text())
    stages: dict[str, list[str]] = {}
    for line in text.splitlines():
        if started := re.fullmatch(r"FROM \S+ AS (\S+)", line):
            instructions = stages.setdefault(started[1], [])
        elif line and not line.startswith("#"):
            instructions.append(line)
    return stages


def test_image_is_safe_by_default() -> None:
    stages = _stages()
    server = stages["server"]
    assert list(stages)[-1] == "server", "what `docker build` makes when no target is named"
    assert "FROM python:3.11-slim AS base" in (ROOT / "Dockerfile").read_text()
    assert "EXPOSE 8000" in stages["base"]
    assert any("WKDVID_ACCESS__MODE=token" in line and "HTTPADDRESS=0.0.0.0:8000" in line for line in stages["base"])
    for stage in ("server", "dev"):
        assert [line for line in stages[stage] if line.startswith("USER ")] == ["USER 1000"]
    assert any(line.startswith("HEALTHCHECK") and "/health/live" in line for line in server)
    assert server.index("USER 1000") < server.index('ENTRYPOINT ["wkdvid-start", "/data"]')
    assert "VOLUME /data" in server
    (extras,) = (
        line.split()[-1].split(",") for line in stages["dependencies"] if "scripts/setup " in line and "RUN" in line
    )
    assert not {"profile", "dev", "testing"} & {*extras}, "no profiler in an image that serves"


def test_server_takes_every_variable_of_the_scripts_the_image_and_compose() -> None:
    """Its configuration is closed: a variable that it does not know would keep it from starting."""
    files = [*SCRIPTS, ROOT / "Dockerfile", COMPOSE]
    names = {name for file in files for name in re.findall(r"\bWKDVID_(?!UID|GID)[A-Z_]+", file.read_text())}
    assert {"WKDVID_VENV", "WKDVID_TEST_DATA", "WKDVID_SERVER__HTTPADDRESS"} <= names
    image = dict(re.findall(r"\b(WKDVID_\w+)=(\S+)", "\n".join(_stages()["base"])))
    compose = yaml.safe_load(COMPOSE.read_text())["services"]["wkdvid"]["environment"]
    config = load_config(None, dict.fromkeys(names, "") | image, {"data_dir": ROOT / "data"})
    assert (config.server.http_address, config.access.mode) == ("0.0.0.0:8000", "token")
    config = load_config(None, dict.fromkeys(names, "") | image | compose, {"data_dir": ROOT / "data"})
    assert (config.access.mode, config.access.allow_open_network) == ("open", True)


def test_the_documented_override_makes_the_container_a_datastore(tmp_path: Path) -> None:
    (text,) = re.findall(
        r"^```yaml\n(.*?)^```", (ROOT / "docs/clients/webknossos.md").read_text(), re.DOTALL | re.MULTILINE
    )
    base, override = (yaml.safe_load(one)["services"]["wkdvid"]["environment"] for one in (COMPOSE.read_text(), text))
    (tmp_path / "webknossos_key").write_text("a key\n")
    override["WKDVID_WEBKNOSSOS__KEY"] = override["WKDVID_WEBKNOSSOS__KEY"].replace("/data", str(tmp_path))
    image = dict(re.findall(r"\b(WKDVID_\w+)=(\S+)", "\n".join(_stages()["base"])))
    config = load_config(None, image | base | override, {"data_dir": tmp_path})
    assert (config.access.mode, config.webknossos.key, config.server.http_address) == (
        "webknossos",
        "a key",
        "0.0.0.0:8000",
    )
    assert (config.webknossos.url, config.server.own_url) == (
        "https://webknossos.example.org",
        "https://em.example.org",
    )


def test_image_copies_only_what_its_context_holds() -> None:
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    assert {".git", ".venv", "data/*", "!data/config.toml", "!data/datasets.json"} <= set(ignored)
    for stage in _stages().values():
        for copied in (line.split()[1:-1] for line in stage if line.startswith("COPY ") and "--from" not in line):
            for name in (word for word in copied if not word.startswith("--")):
                assert (ROOT / name).exists(), f"Dockerfile copies {name}"


def test_compose_file() -> None:
    compose = yaml.safe_load(COMPOSE.read_text())
    named = {name for name in compose if not name.startswith("x-")}
    assert named == {"version", "services", "volumes"}, "docker-compose 1.29 refuses a top-level name"
    assert compose["version"] == "3.9"
    assert set(compose["services"]) == {"wkdvid", "dev", "balancer", "wkdvid-1", "wkdvid-2", "postgres", "s3"}
    for name, service in compose["services"].items():
        assert "build" not in service or service["build"]["target"] in _stages()
        assert service.get("ports") == (["127.0.0.1:8000:8000"] if name in ("wkdvid", "dev", "balancer") else None)
    server, dev = compose["services"]["wkdvid"], compose["services"]["dev"]
    assert (server["read_only"], server["tmpfs"], server["volumes"]) == (True, ["/tmp"], ["./data:/data"])
    assert dev["volumes"] == [".:/app"]


def test_no_key_stands_twice_in_the_compose_file() -> None:
    """Compose 2 refuses such a file; PyYAML and docker-compose 1 take the last one."""

    def keys(node: yaml.Node | None) -> Iterator[list[str]]:
        if isinstance(node, yaml.MappingNode):
            yield [key.value for key, _ in node.value]
            for _, value in node.value:
                yield from keys(value)
        elif isinstance(node, yaml.SequenceNode):
            for item in node.value:
                yield from keys(item)

    for mapping in keys(yaml.compose(COMPOSE.read_text())):
        assert len(mapping) == len(set(mapping)), mapping


def _compose_command() -> list[str]:
    """``docker-compose`` 1 or ``docker compose`` 2, whichever is there; neither needs an engine to read a file."""
    if shutil.which("docker-compose"):
        return ["docker-compose"]
    return ["docker", "compose"]


def test_compose_itself_accepts_the_file() -> None:
    done = _run(*_compose_command(), "--file", COMPOSE, "config", "--quiet")
    assert done.returncode == 0, done.stderr


def test_compose_resolves_the_user() -> None:
    done = _run(*_compose_command(), "--file", COMPOSE, "config", WKDVID_UID="1234")
    resolved = yaml.safe_load(done.stdout)
    assert resolved["services"]["wkdvid"]["user"] == "1234:1000"


def test_profiles_name_what_is_started() -> None:
    """Two of them want the same port, so each has one; ``.env`` names that of the plain command."""
    (plain,) = re.findall(r"^COMPOSE_PROFILES=(.+)$", (ROOT / ".env").read_text(), re.MULTILINE)

    def started(*options: str) -> set[str]:
        done = _run(*_compose_command(), "--file", COMPOSE, *options, "config")
        assert done.returncode == 0, done.stderr
        services = yaml.safe_load(done.stdout)["services"]
        wanted = {options[-1] if options else plain}
        return {name for name, service in services.items() if wanted & set(service["profiles"])}

    assert started() == {"wkdvid"}
    assert started("--profile", "scale") == {"balancer", "wkdvid-1", "wkdvid-2", "postgres", "s3"}


def test_both_scaled_servers_differ_by_their_state_alone() -> None:
    services = yaml.safe_load(COMPOSE.read_text())["services"]
    one, two = (dict(services[name]["environment"]) for name in ("wkdvid-1", "wkdvid-2"))
    states = {environment.pop("WKDVID_SERVER__STATE_DIR") for environment in (one, two)}
    assert (one == two, len(states)) == (True, 2)
    assert services["wkdvid-1"]["volumes"] == services["wkdvid-2"]["volumes"]
    image = dict(re.findall(r"\b(WKDVID_\w+)=(\S+)", "\n".join(_stages()["base"])))
    file = ROOT / "deploy" / "wkdvid.toml"
    config = load_config(None, image | one | {"WKDVID_CONFIG": str(file)}, {"data_dir": ROOT / "data"})
    assert (config.shares_catalog, config.volumes.url) == (True, "s3://wkdvid/volumes")
    (credential,) = config.credentials
    assert "-s3.port=8333" in services["s3"]["command"]
    assert "-bucket=wkdvid" in services["s3"]["command"]
    granted = ("s3://wkdvid/", "http://s3:8333", True)
    assert (credential.prefix, credential.endpoint, credential.environment) == granted


def test_the_balancer_repeats_no_post_that_changes_anything() -> None:
    """Every route of the server that takes POST, and whether the balancer takes it for reading."""
    text = (ROOT / "deploy" / "haproxy.cfg").read_text()
    (reading,) = re.findall(r"method POST \} \{ path_reg (\S+) \}", text)
    app = create_app(load_config(None, {}, {"data_dir": ROOT / "data"}))
    Sanic.unregister_app(app)  # other tests make one of the same name
    posts = [route for route in app.router.routes if "POST" in route.methods]
    repeated = {
        address: route.ctx.access for route in posts for address in addresses(route) if re.match(reading, address)
    }
    assert set(repeated.values()) == {"read"}
    assert "/data/datasets/<organization:str>/<name:str>/layers/<layer:str>/data" in repeated
    assert "/data/v10/datasets/<dataset_id:str>/layers/<layer:str>/meshes/chunks/data" in repeated
