"""The snippets of the CI page: each is parsed, its container's environment starts a marketplace, its commands run."""

import asyncio
import os
import re
import shlex
import shutil
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.e2e.processes import calling, running
from tests.e2e.test_docs import run_blocks
from tests.e2e.test_examples import free_port

pytestmark = pytest.mark.anyio

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/ci.md").read_text("utf-8")
YAML = {name: yaml.safe_load(text) for name, text in re.findall(r"## ([^\n]+)\n\n```yaml\n(.*?)```", PAGE, re.DOTALL)}
READY = re.compile(r'curl [^\n]*"http://[a-z0-9.]+:8090/readyz\?wait=30"')


def _blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)


def _environments(content: Any) -> Iterator[dict[str, str]]:
    """The environments of Kalathi's containers in a YAML document."""
    if isinstance(content, dict):
        if "KALATHI_CONFIG_TEXT" in content:
            yield content
        content = list(content.values())
    if isinstance(content, list):
        for value in content:
            yield from _environments(value)


def test_the_page_has_three_yaml_documents_with_the_same_shop() -> None:
    assert list(YAML) == ["GitHub Actions", "GitLab CI", "Docker Compose"]
    shops = []
    for content in YAML.values():
        [environment] = _environments(content)
        [shop] = tomllib.loads(environment["KALATHI_CONFIG_TEXT"])["shops"]
        assert shop.pop("webhook_url").startswith("http://")
        shops.append(shop)
    assert shops[0] == shops[1] == shops[2]
    assert len(shops[0]["listings"]) == 2


@pytest.mark.parametrize("name", YAML)
async def test_the_environment_of_a_service_container_starts_a_marketplace(tmp_path: Path, name: str) -> None:
    [environment] = _environments(YAML[name])
    # The image sets the host and the data folder; the test takes a free port.
    image = {"KALATHI_HOST": "0.0.0.0", "KALATHI_DATA": str(tmp_path / "data"), "KALATHI_PORT": "0"}
    async with running(tmp_path, "serve", **environment, **image) as market, calling(market.address) as caller:
        assert await caller.status("/readyz?wait=30") == 200
        assert (await caller.merchant("token-of-books", "GET", "?state=open"))[1]["orders"] == []
        async with caller.session.get(
            f"{market.address}/marketplace/shops/books/listings",
            headers={"Authorization": "Bearer operator-of-this-job"},
        ) as answer:
            assert [entry["shop_uid"] for entry in (await answer.json())["listings"]] == ["BOOK-1", "BOOK-2"]


async def test_the_health_check_of_the_compose_file_waits_for_the_marketplace(tmp_path: Path) -> None:
    command = YAML["Docker Compose"]["services"]["kalathi"]["healthcheck"]["test"]
    assert command[:2] == ["CMD", "python"]
    variables = {"KALATHI_DATA": str(tmp_path / "data"), "KALATHI_PORT": "0"}
    async with running(tmp_path, "serve", **variables) as market:
        port = market.address.rpartition(":")[2]
        for tried, status in ((port, 0), (str(free_port()), 1)):
            words = [word.replace("8090", tried) for word in command[2:]]
            process = await asyncio.create_subprocess_exec("python3", *words, stderr=asyncio.subprocess.DEVNULL)
            assert await process.wait() == status


def test_each_job_waits_until_the_marketplace_is_ready() -> None:
    steps = YAML["GitHub Actions"]["jobs"]["test"]["steps"]
    assert any(READY.fullmatch(step.get("run", "")) for step in steps)
    assert READY.fullmatch(YAML["GitLab CI"]["test"]["script"][0])
    [block] = _blocks("bash")
    assert READY.search(block)
    dockerfile = (ROOT / "Dockerfile").read_text("utf-8")
    assert {"EXPOSE 8090", 'ENTRYPOINT ["kalathi"]', 'CMD ["serve"]'} <= set(dockerfile.splitlines())


@pytest.mark.skipif(not shutil.which("curl"), reason="the commands need curl, and this machine has none")
async def test_the_commands_without_docker_work(tmp_path: Path) -> None:
    port = str(free_port())
    block = _blocks("bash")[0].replace("8090", port).replace("9000", str(free_port()))
    out = await run_blocks([f"export KALATHI_PORT={port}", block], tmp_path)
    assert '"orders":[]' in out
    assert "new_order" in out


def test_the_snippets_of_each_language_start_the_image_and_wait() -> None:
    for language in ("python", "java", "javascript", "php", "csharp"):
        [block] = _blocks(language)
        for part in ("registry.example/kalathi:0.1.0", "8090", "KALATHI_CONFIG_TEXT"):
            assert part in block, language
        assert "/readyz" in block or "Kalathi is ready" in block, language


def test_the_snippets_can_be_parsed(tmp_path: Path) -> None:
    compile(_blocks("python")[0], "ci.md", "exec")
    for language, name, command in (("javascript", "a.mjs", "node --check"), ("php", "a.php", "php -l")):
        words = shlex.split(command)
        if shutil.which(words[0]):
            (tmp_path / name).write_text(_blocks(language)[0], "utf-8")
            done = subprocess.run([*words, tmp_path / name], capture_output=True, check=False)
            assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.skipif(
    not shutil.which("docker") or subprocess.run(["docker", "info"], capture_output=True, check=False).returncode != 0,
    reason="no Docker runs on this machine",
)
def test_the_image_starts_with_the_environment_of_the_page() -> None:
    image = "kalathi-of-the-tests"
    subprocess.run(["docker", "build", "--quiet", "--tag", image, ROOT], check=True)
    [environment] = _environments(YAML["Docker Compose"])
    flags = [word for name in environment for word in ("--env", name)]
    run = ["docker", "run", "--detach", "--rm", "--publish", "127.0.0.1::8090", *flags, image]
    container = subprocess.run(run, env=os.environ | environment, capture_output=True, text=True, check=True).stdout
    try:
        words = YAML["Docker Compose"]["services"]["kalathi"]["healthcheck"]["test"][1:]
        retried = f"for n in $(seq 30); do {shlex.join(words)} && exit; sleep 1; done; exit 1"
        subprocess.run(["docker", "exec", container.strip(), "sh", "-c", retried], check=True)
    finally:
        subprocess.run(["docker", "kill", container.strip()], check=True)
