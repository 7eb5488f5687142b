"""A path -> the page of a spec that is being written: served on this machine only, made anew when a file is saved.

The page of the last good spec stays while the file is wrong; the problems stand above it and at their lines.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from gangraph.compiler import Spec
from gangraph.errors import RunError, SpecError
from gangraph.page.facts import Facts, find_facts
from gangraph.page.html import Wrong, print_page
from gangraph.page.texts import Text, yaml_styles

HOST = "127.0.0.1"
LOOK = 0.2  # seconds between two looks at the files
BEAT = 15.0  # seconds after which an idle connection is tried, so that one which nobody reads ends
SHUFFLES = 30  # of the layout: a fraction of a second

Reader = Callable[[], Spec]


class Watch:
    """The page of the files as they are, with a number that grows when it changes.

    `read` reads and checks the spec; `path` is its file. Raises `SpecError` for what saving a file would not mend:
    there is none, or the command is wrong.
    """

    def __init__(self, read: Reader, path: Path):
        self.read, self.path = read, path
        self.page, self.number = "", 0
        self.changed = threading.Condition()
        self._facts: Facts | None = None
        self._wrong: Wrong | None = None
        self._files = {path}
        self._stamp = self._seen()
        self._draw()

    def look(self) -> None:
        """Makes the page anew if a file has changed."""
        stamp = self._seen()
        if stamp != self._stamp:
            self._stamp = stamp
            self._draw()

    def follow(self) -> None:
        """Looks at the files until the process ends."""
        while True:
            time.sleep(LOOK)
            self.look()

    def wait(self, number: int, seconds: float) -> int:
        """The number of the page once it is not `number`, or after so many seconds."""
        with self.changed:
            self.changed.wait_for(lambda: self.number != number, seconds)
            return self.number

    def _seen(self) -> tuple[tuple[Path, int, int], ...]:
        """What is known of the files: of the spec, of what it was read from, and of those beside it."""
        return tuple(self._stamps(sorted({*self._files, *self.path.parent.glob("*.y*ml")})))

    @staticmethod
    def _stamps(paths: list[Path]) -> Iterator[tuple[Path, int, int]]:
        for path in paths:
            try:
                found = path.stat()
            except OSError:
                yield path, 0, -1
            else:
                yield path, found.st_mtime_ns, found.st_size

    def _draw(self) -> None:
        facts, wrong = self._facts, None
        try:
            spec = self.read()
            self._files = {self.path, *map(Path, spec.parsed.sources.files)}
            facts = find_facts(spec, SHUFFLES)
        except SpecError as error:
            if not self.page and not any(Path(p.place.file).is_file() for p in error.problems):
                raise
            files = dict.fromkeys([str(self.path), *(p.place.file for p in error.problems)])
            self._files |= set(map(Path, files))
            wrong = Wrong(error.problems, tuple(_texts(list(files))))
        if self.page and (facts, wrong) == (self._facts, self._wrong):
            return
        self._facts, self._wrong = facts, wrong
        page = print_page(facts, live=self.number + 1, wrong=wrong)
        with self.changed:
            self.page, self.number = page, self.number + 1
            self.changed.notify_all()


def _texts(files: list[str]) -> Iterator[Text]:
    """The files as they are now, as far as they can be read."""
    seen: set[Path] = set()
    for name in files:
        path = Path(name)
        if path.is_file() and path.resolve() not in seen:
            seen.add(path.resolve())
            lines = tuple(path.read_text(encoding="utf-8-sig", errors="replace").splitlines())
            yield Text(name, lines, spans=tuple(yaml_styles(lines)))


@contextmanager
def serving(watch: Watch, port: int = 0) -> Iterator[str]:
    """The address of the page, served on the loopback interface; port 0 takes a free one. Raises `RunError`."""
    try:
        server = _Server((HOST, port), _Handler)
    except OSError as error:
        raise RunError(f"port {port} of {HOST} cannot be used: {error.strerror or error}") from None
    server.watch = watch
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://{HOST}:{server.server_port}/"
    finally:
        server.shutdown()
        server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    watch: Watch


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        port = self.server.server_port
        if self.headers.get("Host") not in (f"{HOST}:{port}", f"localhost:{port}"):  # another site's name for us
            self.send_error(HTTPStatus.FORBIDDEN)
        elif self.path == "/":
            self._page()
        elif self.path.startswith("/events?") and self.path[8:].isdecimal():
            self._events(int(self.path[8:]))
        else:
            self.send_error(HTTPStatus.NOT_FOUND)

    def _page(self) -> None:
        body = self.server.watch.page.encode()
        self.send_response(HTTPStatus.OK)
        for name, value in (("Content-Type", "text/html; charset=utf-8"), ("Content-Length", str(len(body)))):
            self.send_header(name, value)
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        self.wfile.write(body)

    def _events(self, number: int) -> None:
        """An event once the page is another one than that of a number."""
        watch = self.server.watch
        self.send_response(HTTPStatus.OK)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Cache-Control", "no-store")
        self.send_header("Connection", "close")
        self.end_headers()
        try:
            while watch.wait(number, BEAT) == number:
                self.wfile.write(b": still here\n\n")
            self.wfile.write(f"data: {watch.number}\n\n".encode())
        except OSError:
            self.close_connection = True

    def log_message(self, format: str, *args: object) -> None:
        """Silent: the terminal is for what the user is told."""
