"""The page of letters, over the server of a stack and letters that the mailer wrote."""

from __future__ import annotations

import asyncio
import http.client
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import httpx
import pytest

from adapters.mail import FolderMail
from domain.mail import Letter, Mail
from server.mail.letters import Writer
from server.settings import Settings
from server.stack.mailbox import MOST_SHOWN, NAME, Mailbox
from server.stack.scrape import MetricsPage
from server.stack.up import Stack
from tests.builders import NOON
from tests.mail.conftest import MAIL_ID, a_mail
from tests.processes import environment, free_port

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
Post = Callable[[Mail], None]
Ask = Callable[..., tuple[int, str]]
EVIL = """
<body onload="document.title='taken'"><script>document.title='taken'</script>
<img src="http://127.0.0.1:{port}/metrics" onerror="document.title='taken'"><form action="/mail"></form></body>
"""


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[int, Path]]:
    """A stack's page: its port, and the folder whose letters it shows."""
    place = tmp_path_factory.mktemp("the data")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PROMETHEUS_MULTIPROC_DIR", str(place / "metrics"))
        page, port = MetricsPage(place / "metrics"), free_port()
        page.start("127.0.0.1", port, list, mailbox=Mailbox(place / "mail"))
        yield port, place / "mail"
        page.stop()


@pytest.fixture
def port(running: tuple[int, Path]) -> int:
    return running[0]


@pytest.fixture
def folder(running: tuple[int, Path]) -> Iterator[Path]:
    yield running[1]
    shutil.rmtree(running[1], ignore_errors=True)


@pytest.fixture
def post(folder: Path) -> Post:
    """Have the mailer keep a letter."""
    mailer = FolderMail(folder, sender="Ani <no-reply@ani.example>")
    return lambda mail: asyncio.run(mailer.send(mail))


@pytest.fixture
def browser(port: int) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False) as client:
        yield client


@pytest.fixture
def ask(port: int) -> Ask:
    """Ask for a path exactly as it is written."""

    def exactly(path: str, *, method: str = "GET", host: str = "") -> tuple[int, str]:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        try:
            connection.putrequest(method, path, skip_host=True)
            connection.putheader("Host", host or f"127.0.0.1:{port}")
            connection.endheaders()
            answer = connection.getresponse()
            return answer.status, answer.read().decode()
        finally:
            connection.close()

    return exactly


def browse(url: str, folder: Path) -> subprocess.CompletedProcess[str]:
    words = ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", f"--user-data-dir={folder}"]
    words += ["--enable-logging=stderr", "--virtual-time-budget=5000", "--dump-dom", url]
    home = environment(HOME=str(folder))
    return subprocess.run([str(CHROMIUM), *words], check=True, capture_output=True, text=True, timeout=50, env=home)


def only(folder: Path) -> str:
    (path,) = folder.glob("*.eml")
    return path.stem


class TestList:
    def test_shows_the_newest_first(self, post: Post, browser: httpx.Client) -> None:
        for number in (2, 1, 3):
            time = NOON + timedelta(minutes=number)
            post(a_mail(subject=f"Letter {number}", time=time, mail_id=f"{MAIL_ID[:-1]}{number}"))

        page = browser.get("/mail")

        places = [page.text.index(f">Letter {number}</a>") for number in (3, 2, 1)]
        assert page.status_code == 200
        assert places == sorted(places)
        assert page.text.count("mio@example.org") == 3
        assert "<time>2026-04-06 12:03:00 UTC</time>" in page.text

    def test_says_when_there_are_none(self, browser: httpx.Client) -> None:
        assert "No letters yet." in browser.get("/mail").text

    def test_is_not_longer_than_anybody_reads(self, folder: Path, post: Post, browser: httpx.Client) -> None:
        post(a_mail())
        letter = (folder / f"{only(folder)}.eml").read_bytes()
        for number in range(MOST_SHOWN + 5):
            (folder / f"20260401T130000.{number:06}Z-{MAIL_ID}.eml").write_bytes(letter)

        assert browser.get("/mail").text.count("<tr><td>") == MOST_SHOWN

    def test_leaves_the_metrics_where_they_are(self, browser: httpx.Client) -> None:
        page = browser.get("/metrics")

        assert page.headers["content-type"].startswith("text/plain")
        assert "ani_part_up" in page.text

    def test_shows_nothing_but_letters(self, folder: Path, post: Post, browser: httpx.Client, tmp_path: Path) -> None:
        post(a_mail())
        secret = tmp_path / "secret"
        secret.write_text("Subject: a secret\n\n")
        linked = folder / f"20260401T130000.000000Z-{MAIL_ID}.eml"
        linked.symlink_to(secret)
        (folder / "notes.eml").write_text("Subject: a secret\n\n")
        (folder / f"20260401T140000.000000Z-{MAIL_ID}.eml").mkdir()
        os.mkfifo(folder / f"20260401T150000.000000Z-{MAIL_ID}.eml")

        page = browser.get("/mail").text

        assert page.count("<tr><td>") == 1
        assert "secret" not in page
        assert browser.get(f"/mail/{linked.stem}").status_code == browser.get("/mail/notes").status_code == 404


class TestLetter:
    def test_is_shown_as_text_and_as_html(self, folder: Path, post: Post, browser: httpx.Client) -> None:
        letter = Letter("magic_link", "mio@example.org", "ja", facts={"link_token": "abc"})
        post(Writer("https://ani.example").write(letter, mail_id=MAIL_ID, time=NOON))
        link = 'href="https://ani.example/sign-in/link#token=abc"'

        page, html = browser.get(f"/mail/{only(folder)}"), browser.get(f"/mail/{only(folder)}/html")

        assert f"<pre>{page.text.partition('<pre>')[2].partition(link)[0]}{link}" in page.text
        assert f'<iframe sandbox src="/mail/{only(folder)}/html">' in page.text
        assert html.text.startswith("<!doctype html>")
        assert 'lang="ja"' in html.text
        assert link in html.text

    def test_is_nothing_but_words(self, folder: Path, post: Post, browser: httpx.Client) -> None:
        words = "<script>alert(1)</script> javascript:alert(1) \"'&"
        post(a_mail(subject=words, text=f"{words}\n"))

        pages = browser.get("/mail").text + browser.get(f"/mail/{only(folder)}").text

        assert "<script" not in pages
        assert 'href="javascript' not in pages
        assert "&lt;script&gt;alert(1)&lt;/script&gt;" in pages

    def test_may_load_and_run_nothing(self, folder: Path, post: Post, browser: httpx.Client) -> None:
        post(a_mail(html=EVIL))

        ours, theirs = browser.get(f"/mail/{only(folder)}"), browser.get(f"/mail/{only(folder)}/html")

        for page in (ours, theirs):
            policy = page.headers["content-security-policy"]
            assert policy.startswith("default-src 'none'; ")
            assert "script-src" not in policy
            assert "form-action 'none'" in policy
            assert page.headers["cache-control"] == "no-store"
            assert page.headers["x-content-type-options"] == "nosniff"
        assert theirs.headers["content-security-policy"].endswith("; sandbox")

    @pytest.mark.parametrize(
        "broken",
        [
            b"",
            b"\x00\xff\xfe",
            b"Subject: =?utf-99?b?!!?=\nDate: never\nTo: <<>\n\n",
            b'Content-Type: multipart/alternative; boundary="x"\n\n--x\nContent-Type: text/html; charset=no-such\n\n\xff\n--x--\n',
            b"Content-Type: text/plain\nContent-Transfer-Encoding: base64\n\n!!!\n",
            b"Content-Type: image/png\n\nx",
        ],
    )
    def test_may_be_broken(self, broken: bytes, folder: Path, browser: httpx.Client) -> None:
        folder.mkdir(parents=True)
        name = f"20260401T130000.000000Z-{MAIL_ID}"
        (folder / f"{name}.eml").write_bytes(broken)

        answers = [browser.get(path).status_code for path in ("/mail", f"/mail/{name}", f"/mail/{name}/html")]

        assert answers == [200, 200, 200]

    @pytest.mark.skipif(CHROMIUM is None, reason="no chromium on this machine: letters are not tried in a real browser")
    def test_cannot_run_scripts_in_a_real_browser(self, folder: Path, post: Post, port: int, tmp_path: Path) -> None:
        post(a_mail(text="As text.\n", html=EVIL.format(port=port)))

        listed, ours, theirs = (
            browse(f"http://127.0.0.1:{port}/mail{path}", tmp_path) for path in ("", f"/{only(folder)}", f"/{only(folder)}/html")
        )

        assert "<title>A subject</title>" in ours.stdout
        assert "As text." in ours.stdout
        assert "taken</title>" not in listed.stdout + ours.stdout + theirs.stdout
        # What the letter tried was refused; what our own pages need was not.
        assert ":CONSOLE" not in listed.stderr
        assert "style-src" not in ours.stderr
        assert "img-src" in theirs.stderr


class TestRefusal:
    @pytest.mark.parametrize(
        "path",
        [
            "/mail/../keys/1.pem",
            "/mail/..%2f..%2fkeys%2f1.pem",
            "/mail/%2e%2e/%2e%2e/etc/passwd",
            "/mail//etc/passwd",
            "/mail/%2Fetc%2Fpasswd",
            "/mail/..%5c..%5ckeys",
            "/mail/20260401T120000.000000Z-0%2f..%2f..%2fkeys%2f1",
            "/mail/20260401T120000.000000Z-0%00",
            "/mail/20260401T120000.000000Z-0/html/../../../keys/1.pem",
            "/mail/*",
            "/mail/%0d%0aSet-Cookie:%20a",
        ],
    )
    def test_is_all_that_a_path_outside_of_the_folder_gets(self, path: str, folder: Path, post: Post, ask: Ask) -> None:
        post(a_mail())
        keys = folder.parent / "keys"
        keys.mkdir(exist_ok=True)
        (keys / "1.pem").write_text("a secret")
        (keys / "1.eml").write_text("a secret")

        status, page = ask(path)

        assert status == 404
        assert "secret" not in page

    @pytest.mark.parametrize("host", ["evil.example", "evil.example:9464", "127.0.0.1.evil.example", "localhost@evil", "", "[::2]"])
    def test_meets_sites_whose_name_leads_here(self, host: str, post: Post, ask: Ask) -> None:
        post(a_mail())

        status, page = ask("/mail", host=host or " ")

        assert status == 403
        assert "mio" not in page

    @pytest.mark.parametrize("host", ["localhost", "localhost:1", "LOCALHOST", "127.0.0.1", "[::1]:9464"])
    def test_does_not_meet_this_machine(self, host: str, ask: Ask) -> None:
        assert ask("/mail", host=host)[0] == 200

    @pytest.mark.parametrize("method", ["POST", "DELETE", "PUT"])
    def test_meets_whoever_would_change_something(self, method: str, ask: Ask) -> None:
        assert ask("/mail", method=method)[0] == 405


class TestName:
    def test_is_that_of_the_mailer_s_files(self, folder: Path, post: Post) -> None:
        post(a_mail())

        assert NAME.fullmatch(only(folder))


class TestStack:
    @pytest.mark.parametrize(
        ("settings", "shown"),
        [
            (Settings(), True),
            (Settings(mail_url="file:///tmp/letters"), True),
            (Settings(mail_url="smtp://127.0.0.1:25?starttls=off"), False),
            (Settings(mail_url="smtps://mio@mail.example"), False),
            (Settings(metrics_host="0.0.0.0"), False),
            (Settings(environment="production"), False),
            (Settings(environment="production", mail_url="file:///tmp/letters"), False),
        ],
    )
    def test_shows_letters_on_a_developers_machine_alone(self, settings: Settings, shown: bool) -> None:
        assert (Stack(settings, frozenset()).mailbox is not None) == shown
