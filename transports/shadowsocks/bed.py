"""What `check` and `bench` share: processes, servers and proxies, each with bounded waits."""

import contextlib
import json
import os
import pathlib
import random
import socket
import subprocess
import tempfile
import threading
import time

HOME = pathlib.Path(__file__).resolve().parent
ROOT = HOME.parent.parent
MODULE = HOME / "shadowsocks.wasm"
# Seconds that anything may take before it is a failure.
PATIENCE = 30


class Failed(Exception):
    """A check has failed, for the reason that it says."""


def watm_command():
    """The command: WATM, or the one of the workspace, which is built."""
    if os.environ.get("WATM"):
        return os.path.abspath(os.environ["WATM"])
    subprocess.run(
        ["cargo", "build", "--quiet", "--release", "--locked", "--workspace"], cwd=ROOT, check=True
    )
    target = os.environ.get("CARGO_TARGET_DIR", ROOT / "target")
    return os.path.join(ROOT, target, "release", "watm")


def free_port():
    """A port that nobody uses. Another program may take it: whoever uses it says so then."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def connect(port):
    conn = socket.create_connection(("127.0.0.1", port), PATIENCE)
    conn.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return conn


def pump(source, sink, pieces):
    """Forwards one direction in the pieces that `pieces` makes of each read, and its end."""
    try:
        while data := source.recv(65536):
            for piece in pieces(data):
                sink.sendall(piece)
        sink.shutdown(socket.SHUT_WR)
    except OSError:
        # One side is gone: the other learns it.
        with contextlib.suppress(OSError):
            source.shutdown(socket.SHUT_RDWR)
        with contextlib.suppress(OSError):
            sink.shutdown(socket.SHUT_RDWR)


def whole(data):
    return [data]


def single_bytes(data):
    return [data[i : i + 1] for i in range(len(data))]


def random_cuts(data):
    chance = random.Random(len(data))
    pieces, start = [], 0
    while start < len(data):
        end = start + chance.choice([1, 2, 17, 33, 100, 1400, 5000, 20000])
        pieces.append(data[start:end])
        start = end
    return pieces


def await_log(process, *words):
    """Waits until the log of a process has all words: it may be written after what a peer sees."""
    deadline = time.monotonic() + PATIENCE
    while missing := [word for word in words if word not in process.log.read_text()]:
        if time.monotonic() > deadline:
            raise Failed(f"the log does not say {missing}: {process.log.read_text()}")
        time.sleep(0.01)


class Server:
    """Accepts connections, and serves each on a thread of its own."""

    def __init__(self, serve):
        self.serve = serve
        self.socket = socket.socket()
        self.socket.bind(("127.0.0.1", 0))
        self.socket.listen(200)
        self.port = self.socket.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                conn, _ = self.socket.accept()
            except OSError:
                return
            conn.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=self._run, args=(conn,), daemon=True).start()

    def _run(self, conn):
        with conn, contextlib.suppress(OSError):
            self.serve(conn)

    def close(self):
        self.socket.close()


def echo():
    """A server that sends back what it gets."""

    def serve(conn):
        while data := conn.recv(1 << 18):
            conn.sendall(data)

    return Server(serve)


def after_first(pieces):
    """The same pieces, but what is read first passes whole."""
    is_first = True

    def cut(data):
        nonlocal is_first
        was_first, is_first = is_first, False
        return [data] if was_first else pieces(data)

    return cut


def proxy(port, pieces=whole, record=None, forth_whole=False, back_whole=False):
    """A server that forwards to `port` in pieces, and records the bytes that go there.

    `forth_whole` and `back_whole` let the first bytes of a direction pass whole.
    """

    def serve(conn):
        forth = after_first(pieces) if forth_whole else pieces
        back = after_first(pieces) if back_whole else pieces

        def recorded(data):
            if record is not None:
                record.extend(data)
            return forth(data)

        with connect(port) as target:
            target.settimeout(None)
            thread = threading.Thread(target=pump, args=(target, conn, back), daemon=True)
            thread.start()
            pump(conn, target, recorded)
            thread.join()

    return Server(serve)


class Bed:
    """Starts programs, and ends them all when the block ends."""

    def __init__(self, options=()):
        # Options for all `watm` commands that run the module.
        self.options = list(options)
        self.directory = tempfile.TemporaryDirectory(prefix="shadowsocks-")
        self.path = pathlib.Path(self.directory.name)
        self.watm = watm_command()
        self.processes = []
        self.count = 0

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for process in self.processes:
            process.kill()
            process.wait()
        self.directory.cleanup()

    def start(self, *command, output=subprocess.DEVNULL):
        self.count += 1
        log = open(self.path / f"log-{self.count}", "wb")
        command = [str(part) for part in command]
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=log)
        log.close()
        process.log = self.path / f"log-{self.count}"
        self.processes.append(process)
        return process

    def stop(self, process):
        process.terminate()
        process.wait(PATIENCE)

    def port_of(self, process):
        """The port that a process prints when it listens."""
        line = process.stdout.readline().decode().strip()
        if not line:
            raise Failed(f"{process.args[0]} does not start: {process.log.read_text()}")
        return int(line.rsplit(":", 1)[1])

    def config(self, **fields):
        self.count += 1
        path = self.path / f"config-{self.count}.json"
        path.write_text(json.dumps(fields))
        return path

    def watm_serving(self, command, *arguments, config, module=MODULE):
        """A `watm` command that listens. Returns the process and its port."""
        process = self.start(
            self.watm, command, "--module", module, "--config", config, "--listen", "127.0.0.1:0",
            "--cache-dir", self.path / "cache", *self.options, *arguments, output=subprocess.PIPE,
        )
        return process, self.port_of(process)

    def salts(self):
        """A new directory for salts."""
        self.count += 1
        path = self.path / f"salts-{self.count}"
        path.mkdir()
        return path

    def listen(self, config, forward, *arguments, salts=None):
        """A listener with a directory for salts, its own by default."""
        return self.watm_serving(
            "listen", "--forward", f"127.0.0.1:{forward}",
            "--dir", f"{salts or self.salts()}:/replay:rw", *arguments, config=config,
        )

    def libev(self, program, method, password, *arguments, port=None):
        """A program of shadowsocks-libev, which listens on a port that is chosen here."""
        option = "-p" if program == "ss-server" else "-l"
        for _attempt in range(5):
            listening = free_port()
            process = self.start(
                program, option, listening, "-k", password, "-m", method, "-t", "60", *arguments
            )
            deadline = time.monotonic() + PATIENCE
            while time.monotonic() < deadline and process.poll() is None:
                with contextlib.suppress(OSError), connect(listening):
                    return process, listening
                time.sleep(0.01)
        raise Failed(f"{program} does not start: {process.log.read_text()}")

    def ss_server(self, method, password):
        return self.libev("ss-server", method, password, "-s", "127.0.0.1")[1]

    def ss_tunnel(self, method, password, server, target):
        return self.libev(
            "ss-tunnel", method, password, "-s", "127.0.0.1", "-p", server,
            "-L", f"127.0.0.1:{target}",
        )[1]

    def ss_local(self, method, password, server):
        return self.libev("ss-local", method, password, "-s", "127.0.0.1", "-p", server)[1]
