//go:build wasip1

// Package transport is what the Go guests share: descriptors as connections, the configuration,
// errors as numbers, a worker with two goroutines, and the exports that do not depend on the role.
package transport

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"net"
	"os"
	"syscall"
)

//go:wasmimport env water_dial_fixed
func waterDialFixed() int32

//go:wasmimport env water_accept
func waterAccept() int32

// Conn is one side of the transport.
type Conn interface {
	net.Conn
	CloseWrite() error
}

// Near and Far are the two sides, after a role function has opened them.
var Near, Far Conn

var (
	control       Conn
	configuration []byte
)

//go:wasmexport watm_init_v1
func initialise() int32 {
	found, err := os.ReadFile("/conf/watm.cfg")
	// Without a preopened directory, the number differs from that of a missing file.
	if err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, syscall.EBADF) {
		return Result(err)
	}
	configuration = found
	return 0
}

// The control descriptor is a stream of bytes. Its first byte means the end.
//
//go:wasmexport watm_ctrlpipe_v1
func setControl(fd int32) int32 {
	var err error
	control, err = FromFD(fd)
	return Result(err)
}

//go:wasmexport watm_start_v1
func start() int32 {
	return Result(carry(Near, Far))
}

// Configuration is what the embedder passed.
func Configuration() []byte {
	return bytes.Clone(configuration)
}

// FromFD turns a descriptor of the host into a connection.
func FromFD(fd int32) (Conn, error) {
	if fd < 0 {
		return nil, syscall.Errno(-fd)
	}
	// Otherwise the first goroutine that waits on it would block all others.
	if err := syscall.SetNonblock(int(fd), true); err != nil {
		return nil, err
	}
	// The connection shares the descriptor with the file, which counts its users. If the file were
	// left to the collector, closing it later could take the connection out of the scheduler.
	file := os.NewFile(uintptr(fd), "connection")
	defer file.Close()
	conn, err := net.FileConn(file)
	if err != nil {
		return nil, err
	}
	return conn.(Conn), nil
}

// DialFixed dials the embedder's address.
func DialFixed() (Conn, int32, error) {
	fd := waterDialFixed()
	conn, err := FromFD(fd)
	return conn, fd, err
}

// Accept takes the connection that the embedder accepted.
func Accept() (Conn, int32, error) {
	fd := waterAccept()
	conn, err := FromFD(fd)
	return conn, fd, err
}

// Result converts an error for the interface: 0, or the negated number.
func Result(err error) int32 {
	var number syscall.Errno
	switch {
	case err == nil:
		return 0
	case errors.As(err, &number):
		return -int32(number)
	default:
		return -int32(syscall.EIO)
	}
}

// carry copies in both directions until both have ended, one has failed, or control says so.
func carry(near, far Conn) error {
	ended := make(chan error, 3)
	go copyTo(far, near, ended)
	go copyTo(near, far, ended)
	go func() {
		if _, err := control.Read(make([]byte, 1)); err == nil || errors.Is(err, io.EOF) {
			ended <- syscall.ECANCELED
		}
	}()
	for range 2 {
		if err := <-ended; err != nil {
			return err
		}
	}
	return nil
}

func copyTo(to, from Conn, ended chan<- error) {
	_, err := io.CopyBuffer(struct{ io.Writer }{to}, struct{ io.Reader }{from}, make([]byte, 16384))
	if err == nil {
		err = to.CloseWrite()
	}
	ended <- err
}
