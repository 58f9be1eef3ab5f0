"""The demo, as a newcomer runs it."""

import asyncio
import os
import re
import sys
import time
from pathlib import Path

import pypdfium2
import pytest
import zxingcpp

pytestmark = pytest.mark.anyio


async def test_the_demo_narrates_both_use_cases_and_exits_with_zero(tmp_path: Path) -> None:
    started = time.monotonic()
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "kalathi.cli",
        "demo",
        "--once",
        cwd=tmp_path,
        # What stays on this machine never goes through a proxy, least of all the tokens.
        env={**os.environ, "HTTP_PROXY": "http://127.0.0.1:1", "http_proxy": "http://127.0.0.1:1", "no_proxy": ""},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(60):
        out, error = await process.communicate()
    told = out.decode()
    assert process.returncode == 0, told + error.decode()
    assert time.monotonic() - started < 30
    assert "\x1b" not in told, "plain lines when piped"
    assert "FAIL" not in told
    assert "1 of 3 available" in told
    assert "a new order for the available pieces" in told
    paths = re.findall(r"^ok +\w+ +printed (\S+\.pdf)$", told, re.MULTILINE)
    assert len(paths) == 2
    for path in paths:
        document = pypdfium2.PdfDocument(path)
        [barcode] = zxingcpp.read_barcodes(document[0].render(scale=203 / 72).to_pil())
        text = document[0].get_textpage().get_text_range()
        document.close()
        assert barcode.text.startswith("SLM")
        assert Path(path).stem in text
    states = re.findall(r"^ok +(\w+) +order [\d-]+: (\w+)", told, re.MULTILINE)
    assert states == [("accept", "accepted"), ("reject", "rejected"), ("reject", "accepted")]


async def test_the_demo_goes_on_until_it_is_ended_and_leaves_no_process_behind(tmp_path: Path) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "kalathi.cli",
        "demo",
        cwd=tmp_path,
        env={**os.environ, "KALATHI_OPERATOR_TOKEN": "a person's own", "KALATHI_PUBLIC_URL": "http://elsewhere"},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        start_new_session=True,
    )
    assert process.stdout is not None
    told = ""
    async with asyncio.timeout(60):
        while "Traffic goes on" not in told:
            line = (await process.stdout.readline()).decode()
            assert line, told
            told += line
        for _ in range(3):
            told += (await process.stdout.readline()).decode()
        process.terminate()
        rest, error = await process.communicate()
    assert process.returncode == 0, error.decode()
    assert rest.decode().endswith("Ended.\n")
    ports = [int(port) for port in re.findall(r"ready on http://127\.0\.0\.1:(\d+)", told)]
    assert len(ports) == 3
    for port in ports:
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.1", port)
