"""`resight app`: open everything, listen, serve until Ctrl-C."""

import contextlib
import importlib.util
import secrets
import signal
import socket
import sys
import warnings
import webbrowser
from urllib.parse import quote

from resight.app.guard import check_token, is_local
from resight.app.request import AppRequest
from resight.app.workplace import Workplace
from resight.errors import ConfigError
from resight.progress import Say

INSTALL = "the app needs nicegui; install it with: pip install 'resight[app]'"

CLOSING_SECONDS = 3


def run_app(request: AppRequest, say: Say) -> None:
    """Serve the app; says its address, with the token where there is one.

    Raises:
        ConfigError: a flag cannot be used, the port is taken, answers open in another app, a package missing.
        CheckpointError: the model cannot be read.
        GalleryError: the gallery is of another model, or cannot be opened.
        DataError: the file of answers cannot be read.
    """
    check_token(request.token)
    if importlib.util.find_spec("nicegui") is None:
        raise ConfigError(INSTALL)
    with listening(request.host, request.port) as listener, Workplace(request, say) as workplace:
        import uvicorn

        from resight.app.api import make_app
        from resight.app.pages import add_pages

        bound, port = listener.getsockname()[:2]
        others = not is_local(bound)
        token = request.token or (secrets.token_urlsafe(24) if others else None)
        app = make_app(workplace, token)
        add_pages(app, workplace)
        address = _address(request.host if others else bound, port)
        for line in (*workplace.explanation(), f"answers are kept in {workplace.store.path}"):
            say(line)
        if others:
            say(f"others on the network who have the token can see the images; this listens on {request.host} without "
                "encryption: put a proxy with TLS before it where that matters")  # fmt: skip
        say(f"open {address}{f'?token={quote(token)}' if token else ''} (Ctrl-C stops it)")
        if request.browser or (request.browser is None and sys.stdout.isatty()):
            webbrowser.open(address)  # without the token, which all on this machine could read in the list of programs
        config = uvicorn.Config(
            app, log_level="warning", timeout_graceful_shutdown=CLOSING_SECONDS, server_header=False, lifespan="on"
        )
        # NiceGUI looks at every object there is when it starts; torch warns when an old name of its is looked at.
        warnings.filterwarnings("ignore", message=".*torch.distributed.reduce_op", category=FutureWarning)
        # As Ctrl-C does: the server ends in order and then raises what it was sent, which would end all at once.
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        with contextlib.suppress(KeyboardInterrupt):
            uvicorn.Server(config).run(sockets=[listener])
    say("stopped; all answers are saved")


def listening(host: str, port: int) -> socket.socket:
    """Take a port; 0 takes a free one.

    Raises:
        ConfigError: it is taken, or the host is none of this machine.
    """
    if not 0 <= port <= 65535:
        raise ConfigError(f"--port must be 0 to 65535, got {port}")
    try:
        family, kind, protocol, _, place = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, kind, protocol)
    except OSError as error:
        raise ConfigError(f"--host {host} is no address of this machine ({error.strerror or error})") from error
    try:
        if sys.platform != "win32":  # there it would let two listen
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(place)
        listener.listen(128)
    except OSError as error:
        listener.close()
        raise ConfigError(
            f"port {port} of {host} cannot be used ({error.strerror or error}); give another with --port, 0 for any"
        ) from error
    return listener


def _address(host: str, port: int) -> str:
    shown = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    return f"http://[{shown}]:{port}/" if ":" in shown else f"http://{shown}:{port}/"
