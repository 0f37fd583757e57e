//go:build wasip1

// Pass-through in standard Go: a goroutine for each direction, half-close, all roles but dial_fixed.
package main

import "guests/transport"

var near, far transport.Conn

//go:wasmexport watm_init_v1
func initialise() int32 {
	return transport.Result(transport.Init())
}

//go:wasmexport watm_ctrlpipe_v1
func setControl(fd int32) int32 {
	return transport.Result(transport.SetControl(fd))
}

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
	if near, _, err = transport.Accept(); err == nil {
		far, _, err = transport.DialFixed()
	}
	return transport.Result(err)
}

func open(internal int32, connect func() (transport.Conn, int32, error)) int32 {
	var fd int32
	var err error
	if near, err = transport.FromFD(internal); err == nil {
		far, fd, err = connect()
	}
	if err != nil {
		return transport.Result(err)
	}
	return fd
}

//go:wasmexport watm_start_v1
func start() int32 {
	return transport.Result(transport.Carry(near, far))
}

func main() {}
