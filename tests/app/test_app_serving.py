"""How the app is started: where it listens, who needs a token, and how that is told."""

import re
from pathlib import Path

import pytest

pytest.importorskip("fastapi")
pytest.importorskip("pymilvus")

from resight.app import guard
from resight.app.request import AppRequest
from resight.errors import ConfigError


def test_only_addresses_that_always_mean_this_machine_need_no_token():
    for host in ("localhost", "Localhost.", "127.0.0.1", "127.8.9.10", "::1", "::1%lo"):
        assert guard.is_local(host), host
    for host in ("0.0.0.0", "::", "127.example.org", "127.1", "localhost.example.org", "192.0.2.1", ""):
        assert not guard.is_local(host), host


@pytest.mark.parametrize("token", ["short", "with\nnewline", "gärtnerei"])
def test_a_weak_token_is_refused(token: str):
    with pytest.raises(ConfigError, match="--token must have"):
        guard.check_token(token)


def test_a_port_that_is_taken_is_a_sentence():
    from resight.app.serving import listening

    with listening("127.0.0.1", 0) as first:
        port = first.getsockname()[1]
        with pytest.raises(ConfigError, match=f"port {port} of 127.0.0.1 cannot be used .*--port"):
            listening("127.0.0.1", port)
    with pytest.raises(ConfigError, match="--port must be"):
        listening("127.0.0.1", 70_000)
    with pytest.raises(ConfigError, match=r"of 192\.0\.2\.1 cannot be used"):  # an address of no machine
        listening("192.0.2.1", 0)


def test_the_command_refuses_a_weak_token_before_it_opens_anything(tmp_path: Path):
    import typer
    from typer.testing import CliRunner

    from resight.cli_app import app_command

    command = typer.Typer()
    command.command()(app_command)
    done = CliRunner().invoke(command, [str(tmp_path / "no run"), "--token", "short"])
    assert isinstance(done.exception, ConfigError) and "--token" in str(done.exception)


def test_the_token_is_printed_and_no_browser_is_started_with_it(run: Path, tmp_path: Path, monkeypatch):
    pytest.importorskip("nicegui")
    import signal
    import webbrowser

    import uvicorn

    from resight.app import serving

    said, opened = [], []
    monkeypatch.setattr(uvicorn.Server, "run", lambda self, sockets: None)
    monkeypatch.setattr(webbrowser, "open", opened.append)
    monkeypatch.setattr(signal, "signal", lambda *given: None)
    monkeypatch.setattr("resight.app.pages.add_pages", lambda app, workplace: None)
    request = AppRequest(run, host="0.0.0.0", port=0, browser=True, state=tmp_path / "r.sqlite", device="cpu")
    serving.run_app(request, said.append)
    address, token = next(line for line in said if line.startswith("open ")).split()[1].split("?token=")
    assert opened == [address] and len(token) >= 24 and address.startswith("http://127.0.0.1:")
    said.clear()
    serving.run_app(
        AppRequest(run, host="127.0.0.2", port=0, browser=False, state=request.state, device="cpu"), said.append
    )
    assert any(re.match(r"open http://127\.0\.0\.2:\d+/ ", line) for line in said)  # only this machine: no token
