"""README: its order, its commands, its guarantees, and that its lines give its answers (AT6)."""

from __future__ import annotations

import ast
import contextlib
import json
import re
import shutil
import subprocess
import threading
from typing import TYPE_CHECKING, Any

import pytest
from werkzeug.serving import make_server

from tests.clients import People
from tests.contract.tree import ROOT, blocks, files, text, tree

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.world import World

README = text("README.md")


def test_the_two_commands_of_the_readme_are_the_makefiles() -> None:
    """Section 10: `make run` and `make test`; .ci/run runs the second."""
    shown = [block.strip() for block in blocks("README.md", "sh")]
    commands = [block for block in shown if block.startswith("make ")]
    assert commands == ["make run", "make test"]
    makefile = text("Makefile")
    for command in commands:
        assert re.search(rf"^{command.removeprefix('make ')}: .*## ", makefile, re.MULTILINE)
    assert f"exec {commands[1]}\n" in text(".ci/run")


def test_the_readme_stands_in_its_order() -> None:
    """Section 10: what it is, run, capture, user, test, guarantees, tree, what to read next."""
    assert re.findall(r"^#+ (.*)", README, re.MULTILINE) == [
        "Strongroom",
        "Run it",
        "Capture a payment",
        "Sign a user up and in",
        "Test it",
        "What is guaranteed, and the test that proves it",
        "The tree",
        "What to read next",
    ]
    assert README.partition("## Run it")[0].count("\n") <= 8


def test_each_guarantee_names_a_test_that_exists() -> None:
    """Section 10."""
    table = README.partition("proves it\n")[2].partition("\n## ")[0]
    named = re.findall(r"^\| [^|]+ \| `([^`]+)` \|$", table, re.MULTILINE)
    assert len(named) > 12
    for each in named:
        path, _, function = each.partition("::")
        defined = [n.name for n in ast.walk(tree(path)) if isinstance(n, ast.FunctionDef)]
        assert function in defined, each


def test_the_tree_of_the_readme_is_all_there_is() -> None:
    """Section 10: the map has every folder and every module of the root."""
    shown = blocks("README.md", "")[0]
    listed = {word.rstrip("/") for line in shown.splitlines() for word in line[:19].split()}
    folders = {path.relative_to(ROOT).parts[0] for path in files("*") if path.parent != ROOT}
    modules = {path.name for path in files("*.py") if path.parent == ROOT}
    assert listed == {each for each in folders if each[0] != "."} | (
        modules - {"gunicorn.conf.py", "version.py"}
    )


CURL = """\
#!{python}
# Stands in for curl where there is none: what the README asks of it.
import sys, urllib.request
words, data, headers, method, url = sys.argv[1:], None, {{}}, None, ""
while words:
    word = words.pop(0)
    if word == "-H":
        key, _, value = words.pop(0).partition(": ")
        headers[key] = value
    elif word == "-d":
        data = words.pop(0).encode()
    elif word == "-X":
        method = words.pop(0)
    elif word != "-sS":
        url = word
request = urllib.request.Request(url, data, headers, method=method)
try:
    answer = urllib.request.urlopen(request)
except urllib.error.HTTPError as refusal:
    answer = refusal
sys.stdout.write(answer.read().decode())
"""


@pytest.fixture
def served(world: World, tmp_path: Path) -> Iterator[Path]:
    """A folder with the var/demo.json of a service that answers there."""
    with serving(world, tmp_path):
        yield tmp_path


@contextlib.contextmanager
def serving(world: World, folder: Path) -> Iterator[None]:
    """Serve, and say where in var/demo.json."""
    server = make_server("127.0.0.1", 0, world.app, threaded=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    (folder / "var").mkdir(exist_ok=True)
    demo = {
        "url": f"http://127.0.0.1:{server.server_port}",
        "api_key": world.api_key,
        "user_id": world.user_id,
    }
    (folder / "var" / "demo.json").write_text(json.dumps(demo, indent=1), "utf-8")
    try:
        yield
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def paste(lines: str, folder: Path) -> list[str]:
    """Run shell lines in a folder as they are; return what they print, line by line."""
    tools = folder / "bin"
    tools.mkdir(exist_ok=True)
    if shutil.which("curl") is None:
        python = shutil.which("python3") or "/usr/bin/env python3"
        (tools / "curl").write_text(CURL.format(python=python), "utf-8")
        (tools / "curl").chmod(0o755)
    done = subprocess.run(
        ["sh", "-c", lines],
        cwd=folder,
        env={"PATH": f"{tools}:/usr/local/bin:/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr == ""
    return done.stdout.splitlines()


def anonymous(answer: str) -> Any:
    """Return an answer with ids and times made equal."""
    plain = re.sub(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", "ID", answer)
    return json.loads(re.sub(r"\d{4}-\d\d-\d\dT[\d:.]+Z", "TIME", plain))


def test_the_lines_of_the_readme_give_its_answers(served: Path) -> None:
    """The shell lines work as they are pasted; pasted again they give the same capture."""
    lines, _ = [block for block in blocks("README.md", "sh") if "curl" in block]
    capture, balance = paste(lines, served)
    shown = [anonymous(block) for block in blocks("README.md", "json")[:2]]
    assert [anonymous(capture), anonymous(balance)] == shown
    again, unmoved = paste(lines, served)
    assert again == capture
    assert anonymous(unmoved) == anonymous(balance)


def test_a_user_signs_up_and_in_by_the_lines_of_the_readme(served: Path, world: World) -> None:
    """The lines end logged out; what they print is what is shown."""
    _, lines = [block for block in blocks("README.md", "sh") if "curl" in block]
    me, nothing = paste(lines, served)
    (shown,) = blocks("README.md", "json")[2:]
    assert (anonymous(me), nothing) == (anonymous(shown), "")
    events = world.rows("SELECT event FROM audit_log WHERE user_id IS NOT NULL ORDER BY id")
    assert [event for (event,) in events][-3:] == ["user_registered", "login", "session_revoked"]


@pytest.fixture
def people_served(database: str, tmp_path: Path) -> Iterator[People]:
    """People whose mail is in the folder's var/mail, sent as by a worker."""
    people, stop = People(database, tmp_path / "var"), threading.Event()

    def work() -> None:
        while not stop.wait(0.2):
            people.send_mail()

    worker = threading.Thread(target=work)
    with serving(people, tmp_path):
        worker.start()
        yield people
        stop.set()
        worker.join()
    people.close()


def shape(value: Any) -> Any:
    """Return the names of an answer without its values."""
    if isinstance(value, dict):
        return {name: shape(inner) for name, inner in value.items()}
    return [shape(inner) for inner in value] if isinstance(value, list) else None


def test_the_page_on_users_gives_its_answers(people_served: People, tmp_path: Path) -> None:
    """Sign up, in, list, forget and reset, by the lines as they stand."""
    lines = "\n".join(blocks("docs/auth.md", "sh")[:3])
    registered, *rest = [json.loads(line) for line in paste(lines, tmp_path) if line]
    tokens, sessions, refused, accepted, revoked = rest
    shown = [json.loads(block) for block in blocks("docs/auth.md", "json")[:3]]
    assert [shape(each) for each in (tokens, sessions, refused)] == [shape(each) for each in shown]
    assert shape(registered) == shape(tokens)
    assert [each["current"] for each in sessions["data"]] == [True, False]
    assert accepted == {"status": "accepted"}
    assert [refused["code"], revoked["code"]] == ["invalid_credentials", "session_revoked"]
    email = tokens["user"]["email"]
    assert people_served.log_in(email, "a longer sentence than before").status_code == 200
