// Moves a file through a tunnel and back, and checks that it arrives as it was.
//
//	movefile MODULE FILE [CONFIG]
//
// Both ends of the tunnel are in this program: a listener that sends back what it gets, and a
// dialer.
// A connection is an io.ReadWriteCloser, so that the rest of Go works with it.
package main

/*
#cgo pkg-config: watm
#include <stdlib.h>
#include <watm.h>
*/
import "C"

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"unsafe"
)

// failure makes an error of a status, and frees what the library says of it.
func failure(what string, status C.watm_status, err *C.watm_error) error {
	if status == C.WATM_STATUS_OK {
		return nil
	}
	defer C.watm_error_free(err)
	return fmt.Errorf("%s: %s (status %d, %s)", what, C.GoString(C.watm_error_message(err)), status,
		C.GoString(C.watm_error_code(err)))
}

// Conn is a connection through a module.
type Conn struct{ handle *C.watm_conn }

func (c *Conn) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	var err *C.watm_error
	var n C.size_t
	status := C.watm_conn_read(c.handle, unsafe.Pointer(&p[0]), C.size_t(len(p)), &n, &err)
	if failed := failure("read", status, err); failed != nil {
		return 0, failed
	}
	if n == 0 {
		return 0, io.EOF
	}
	return int(n), nil
}

func (c *Conn) Write(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	var err *C.watm_error
	var n C.size_t
	status := C.watm_conn_write_all(c.handle, unsafe.Pointer(&p[0]), C.size_t(len(p)), &n, &err)
	return int(n), failure("write", status, err)
}

// Close waits until everything is delivered, and frees the connection.
func (c *Conn) Close() error {
	defer C.watm_conn_free(c.handle)
	var err *C.watm_error
	status := C.watm_conn_close(c.handle, nil, &err)
	return failure("close", status, err)
}

func run(moduleFile, dataFile string, configFile []string) error {
	data, failed := os.ReadFile(dataFile)
	if failed != nil {
		return failed
	}
	var err *C.watm_error
	var module *C.watm_module
	file := C.CString(moduleFile)
	defer C.free(unsafe.Pointer(file))
	status := C.watm_module_load_file(file, &module, &err)
	if failed := failure("load", status, err); failed != nil {
		return failed
	}
	defer C.watm_module_free(module)
	settings := C.watm_settings_new()
	defer C.watm_settings_free(settings)
	for _, name := range configFile {
		config, failed := os.ReadFile(name)
		if failed != nil {
			return failed
		}
		at := unsafe.Pointer(unsafe.SliceData(config))
		status := C.watm_settings_config(settings, at, C.size_t(len(config)), &err)
		if failed := failure("config", status, err); failed != nil {
			return failed
		}
	}

	var listener *C.watm_listener
	address := C.CString("127.0.0.1:0")
	defer C.free(unsafe.Pointer(address))
	status = C.watm_listener_bind(module, settings, address, &listener, &err)
	if failed := failure("listen", status, err); failed != nil {
		return failed
	}
	defer C.watm_listener_free(listener)
	served := make(chan error, 1)
	go func() { served <- echo(listener) }()

	var dialer *C.watm_dialer
	status = C.watm_dialer_new(module, settings, &dialer, &err)
	if failed := failure("dialer", status, err); failed != nil {
		return failed
	}
	defer C.watm_dialer_free(dialer)
	var conn Conn
	local := C.watm_listener_local_addr(listener)
	status = C.watm_dialer_dial(dialer, local, nil, &conn.handle, &err)
	if failed := failure("dial", status, err); failed != nil {
		return failed
	}

	sent := make(chan error, 1)
	go func() {
		_, failed := conn.Write(data)
		sent <- failed
	}()
	back := make([]byte, len(data))
	if _, failed := io.ReadFull(&conn, back); failed != nil {
		return failed
	}
	if !bytes.Equal(back, data) {
		return fmt.Errorf("what came back differs")
	}
	if failed := <-sent; failed != nil {
		return failed
	}
	if failed := conn.Close(); failed != nil {
		return failed
	}
	if failed := <-served; failed != nil {
		return failed
	}
	fmt.Printf("%s: %d bytes there and back through %s\n", C.GoString(C.watm_module_name(module)),
		len(data), C.GoString(local))
	return nil
}

// echo accepts one connection and sends back all that comes.
func echo(listener *C.watm_listener) error {
	var err *C.watm_error
	var conn Conn
	status := C.watm_listener_accept(listener, &conn.handle, &err)
	if failed := failure("accept", status, err); failed != nil {
		return failed
	}
	if _, failed := io.Copy(&conn, &conn); failed != nil {
		return failed
	}
	return conn.Close()
}

func main() {
	if len(os.Args) != 3 && len(os.Args) != 4 {
		fmt.Fprintln(os.Stderr, "usage: movefile MODULE FILE [CONFIG]")
		os.Exit(2)
	}
	failed := run(os.Args[1], os.Args[2], os.Args[3:])
	if count := C.watm_handle_count(); failed == nil && count != 0 {
		failed = fmt.Errorf("%d handles are left", count)
	}
	if failed != nil {
		fmt.Fprintln(os.Stderr, failed)
		os.Exit(1)
	}
}
