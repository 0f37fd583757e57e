//go:build wasip1

// Pass-through in standard Go: one goroutine per direction, half-close, all roles but dial_fixed.
package main

import "guests/transport"

//go:wasmexport watm_dial_v1
func dial(internal int32) int32 {
	return open(internal, transport.DialFixed)
}

//go:wasmexport watm_accept_v1
func accept(internal int32) int32 {
	return open(internal, transport.Accept)
}

//go:wasmexport watm_associate_v1
func associate() int32 {
	var err error
	if transport.Near, _, err = transport.Accept(); err == nil {
		transport.Far, _, err = transport.DialFixed()
	}
	return transport.Result(err)
}

func open(internal int32, connect func() (transport.Conn, int32, error)) int32 {
	var fd int32
	var err error
	if transport.Near, err = transport.FromFD(internal); err == nil {
		transport.Far, fd, err = connect()
	}
	if err != nil {
		return transport.Result(err)
	}
	return fd
}

func main() {}
