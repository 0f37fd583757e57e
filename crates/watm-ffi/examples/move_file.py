"""Moves a file through a tunnel and back, and checks that it arrives as it was.

    move_file.py LIBRARY MODULE FILE [CONFIG]

Both ends of the tunnel are in this program: a listener that sends back what it gets, and a dialer.
The dialer has a hook, which makes the connections in Python.
"""

import errno
import socket
import sys
import threading
from ctypes import CDLL, CFUNCTYPE, byref, c_char_p, c_int, c_int64, c_size_t, c_uint32, c_void_p
from ctypes import create_string_buffer

PIECE = 65536
LOG_INFO = 3
DIAL_FN = CFUNCTYPE(c_int, c_void_p, c_void_p)
DESTROY_FN = CFUNCTYPE(None, c_void_p)
LOG_FN = CFUNCTYPE(None, c_void_p, c_uint32, c_char_p, c_char_p)


class Failure(Exception):
    """What went wrong: the code, which is stable, and the message."""


class Watm:
    """The functions of the library that return a status, with their errors as exceptions."""

    def __init__(self, path):
        self.lib = CDLL(path)
        for name in ("watm_error_code", "watm_error_message", "watm_listener_local_addr",
                     "watm_dial_attempt_address", "watm_version"):
            getattr(self.lib, name).restype = c_char_p
        for name in ("watm_error_code", "watm_error_message", "watm_error_free", "watm_conn_free",
                     "watm_listener_local_addr", "watm_listener_free", "watm_dialer_free",
                     "watm_settings_free", "watm_module_free", "watm_dial_attempt_address"):
            getattr(self.lib, name).argtypes = [c_void_p]
        self.lib.watm_settings_new.restype = c_void_p
        self.lib.watm_handle_count.restype = c_size_t

    def call(self, name, *arguments):
        error = c_void_p()
        status = getattr(self.lib, name)(*arguments, byref(error))
        if status != 0:
            code = self.lib.watm_error_code(error).decode()
            message = self.lib.watm_error_message(error).decode()
            self.lib.watm_error_free(error)
            raise Failure(f"{name}: {message} (status {status}, {code})")

    def make(self, name, *arguments):
        handle = c_void_p()
        self.call(name, *arguments, byref(handle))
        return handle

    def read(self, conn, size=PIECE):
        data, length = create_string_buffer(size), c_size_t()
        self.call("watm_conn_read", conn, data, c_size_t(size), byref(length))
        return data.raw[:length.value]

    def write(self, conn, data):
        self.call("watm_conn_write_all", conn, data, c_size_t(len(data)), None)


def echo(watm, listener):
    conn = watm.make("watm_listener_accept", listener)
    while data := watm.read(conn):
        watm.write(conn, data)
    watm.call("watm_conn_close", conn, None)
    watm.lib.watm_conn_free(conn)


def main():
    if len(sys.argv) not in (4, 5):
        sys.exit(__doc__)
    library, module_file, data_file, *config_file = sys.argv[1:]
    with open(data_file, "rb") as file:
        data = file.read()
    watm = Watm(library)
    said, destroyed, dialled = [], [], []

    @LOG_FN
    def log(_user, level, target, message):
        said.append((level, target, message))

    @DIAL_FN
    def dial(_user, attempt):
        address = watm.lib.watm_dial_attempt_address(attempt).decode()
        dialled.append(address)
        host, port = address.rsplit(":", 1)
        try:
            return socket.create_connection((host, int(port))).detach()
        except OSError as error:
            return -(error.errno or errno.EIO)

    @DESTROY_FN
    def destroy(_user):
        destroyed.append(True)

    watm.call("watm_log", log, c_uint32(LOG_INFO), None, None)
    module = watm.make("watm_module_load_file", module_file.encode())
    settings = c_void_p(watm.lib.watm_settings_new())
    for name in config_file:
        with open(name, "rb") as file:
            config = file.read()
        watm.call("watm_settings_config", settings, config, c_size_t(len(config)))
    listener = watm.make("watm_listener_bind", module, settings, b"127.0.0.1:0")
    server = threading.Thread(target=echo, args=(watm, listener))
    server.start()

    watm.call("watm_settings_dial_hook", settings, dial, None, destroy)
    dialer = watm.make("watm_dialer_new", module, settings)
    address = watm.lib.watm_listener_local_addr(listener)
    conn = watm.make("watm_dialer_dial", dialer, address, None)
    watm.call("watm_conn_read_timeout", conn, c_int64(60000))

    sender = threading.Thread(target=watm.write, args=(conn, data))
    sender.start()
    back = bytearray()
    while len(back) < len(data):
        piece = watm.read(conn)
        if not piece:
            sys.exit(f"the other side has closed after {len(back)} bytes")
        back += piece
    sender.join()
    assert back == data, "what came back differs"
    watm.call("watm_conn_close", conn, None)
    server.join()

    try:
        watm.make("watm_dialer_dial", dialer, b"nowhere", None)
        sys.exit("an address without a port was dialled")
    except Failure as failure:
        assert "address" in str(failure), failure

    for kind, handle in (("conn", conn), ("dialer", dialer), ("listener", listener),
                         ("settings", settings), ("module", module)):
        getattr(watm.lib, f"watm_{kind}_free")(handle)
    left = c_size_t()
    watm.call("watm_drain", c_int64(5000), byref(left))
    assert left.value == 0 and watm.lib.watm_handle_count() == 0, "something is left"
    assert dialled == [address.decode()] and destroyed == [True], (dialled, destroyed)
    assert any(b"compiled a module" in message for _, _, message in said), said
    print(f"version {watm.lib.watm_version().decode()}: {len(data)} bytes there and back, over a "
          f"connection that Python made to {dialled[0]}; {len(said)} log messages")


if __name__ == "__main__":
    main()
