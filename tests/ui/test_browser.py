"""A newcomer in a real Chromium: the page loads, takes a message, and shows urgency, answer, sources and sidebar."""

import os
import re
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import browser as chromium
import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from settings import ROOT

ARTIFACTS = ROOT / "tests" / "artifacts"


@pytest.fixture(scope="module")
def address(shipped_index: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The app as `make run` serves it, on a free port and a log of its own."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    log = tmp_path_factory.mktemp("log") / "log.db"
    environment = os.environ | {"DATABASE_URL": f"sqlite:///{log}"}
    command = [sys.executable, "-m", "streamlit", "run", str(ROOT / "6_ui" / "app.py"), "--server.port", str(port)]
    output = (ARTIFACTS / "streamlit.log") if ARTIFACTS.exists() else tmp_path_factory.mktemp("out") / "streamlit.log"
    with output.open("w") as file:
        process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=file, stderr=subprocess.STDOUT)
        url = f"http://localhost:{port}"
        try:
            for _ in range(150):
                try:
                    urllib.request.urlopen(f"{url}/_stcore/health", timeout=1)
                    break
                except OSError:
                    time.sleep(0.2)
            yield url
        finally:
            process.terminate()
            process.wait(20)


@pytest.fixture(scope="module")
def running() -> Iterator[Browser]:
    path = chromium.find()
    assert path, "no Chromium on this machine: run `make setup-dev`"
    ARTIFACTS.mkdir(exist_ok=True)
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=path, headless=True, args=chromium.FLAGS)
        yield opened
        opened.close()


@pytest.fixture
def page(running: Browser) -> Iterator[Page]:
    context = running.new_context(viewport={"width": 1280, "height": 1100})
    faults: list[str] = []
    opened = context.new_page()
    opened.on("pageerror", lambda error: faults.append(str(error)))
    yield opened
    context.close()
    assert faults == []


def ask(page: Page, text: str) -> None:
    box = page.get_by_placeholder("Describe what is wrong")
    box.fill(text)
    box.press("Enter")


def finished(page: Page) -> None:
    expect(page.get_by_text("What was understood, and what was used").last).to_be_visible(timeout=60_000)


def test_the_page_takes_a_message_while_models_load(page: Page, address: str) -> None:
    page.goto(address)
    expect(page.get_by_role("heading", name="MediAssist")).to_be_visible(timeout=20_000)
    page.screenshot(path=ARTIFACTS / "loading.png")
    ask(page, "crushing chest pain going down my left arm")
    expect(page.get_by_text("HIGH: get emergency care now")).to_be_visible(timeout=60_000)
    finished(page)
    page.screenshot(path=ARTIFACTS / "emergency.png", full_page=True)


def test_urgency_answer_citation_and_sidebar(page: Page, address: str) -> None:
    page.goto(address)
    ask(page, "I have had a sore throat and a runny nose for two days")
    finished(page)
    expect(page.get_by_text(re.compile("^LOW"))).to_be_visible()
    page.screenshot(path=ARTIFACTS / "mild.png", full_page=True)
    last = page.get_by_role("button", name=re.compile(r"^\d+ · ")).last
    title = last.inner_text().splitlines()[0].split("·", 1)[1].strip()
    last.click()
    opened = page.get_by_test_id("stPopoverBody")
    expect(opened).to_be_visible()
    expect(opened.get_by_text(title, exact=False).first).to_be_visible()
    expect(opened.get_by_role("link", name="Open the public source")).to_have_attribute("href", re.compile("^https://"))
    page.keyboard.press("Escape")
    sidebar = page.get_by_test_id("stSidebar")
    expect(sidebar.get_by_role("button", name="New concern")).to_be_visible()
    sidebar.get_by_text("Models in use").click()
    expect(sidebar.get_by_text("all-MiniLM-L6-v2", exact=False).first).to_be_visible()
    assert "session=" in page.url


def test_a_reload_finds_the_conversation_again(page: Page, address: str) -> None:
    page.goto(address)
    ask(page, "my lower back aches after lifting boxes")
    finished(page)
    page.reload()
    expect(page.get_by_text("my lower back aches after lifting boxes")).to_be_visible(timeout=20_000)
    finished(page)


def test_typed_html_stays_text(page: Page, address: str) -> None:
    page.goto(address)
    page.on("dialog", lambda dialog: pytest.fail(f"a script ran: {dialog.message}"))
    ask(page, "<img src=x onerror=alert(1)> ![x](http://127.0.0.1:9/?q=1) sore throat")
    finished(page)
    expect(page.get_by_text("<img src=x onerror=alert(1)>", exact=False).first).to_be_visible()
    assert (
        page.locator(
            "[data-testid=stChatMessage] img[src*='127.0.0.1:9'], [data-testid=stChatMessage] img[src=x]"
        ).count()
        == 0
    )


def test_no_good_source_is_said(page: Page, address: str) -> None:
    page.goto(address)
    ask(page, "My zorbitis and quandle feel strange when the vexalgia hums")
    expect(page.get_by_text("I found no reference for this", exact=False)).to_be_visible(timeout=60_000)
    page.screenshot(path=ARTIFACTS / "no-source.png", full_page=True)


def test_a_phone_sized_window_shows_all_of_it(running: Browser, address: str) -> None:
    context = running.new_context(
        viewport={"width": 375, "height": 740}, device_scale_factor=2, is_mobile=True, has_touch=True
    )
    page = context.new_page()
    page.goto(address)
    ask(page, "face drooping, slurring")
    expect(page.get_by_text("HIGH: get emergency care now")).to_be_visible(timeout=60_000)
    finished(page)
    page.screenshot(path=ARTIFACTS / "phone.png", full_page=True)
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    context.close()
