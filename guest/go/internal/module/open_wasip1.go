//go:build !tinygo && !watm_poll

package module

// Connections of the standard library, for the standard compiler.

import (
	"net"
	"os"
	"syscall"
)

// open makes a connection of a descriptor, which waits in the scheduler of Go.
func open(fd int32) (net.Conn, error) {
	// Otherwise the first goroutine that waits would block all others.
	if err := syscall.SetNonblock(int(fd), true); err != nil {
		return nil, os.NewSyscallError("set_nonblock", err)
	}
	// The connection shares the descriptor with the file, which counts its users: closing the file
	// does not close the descriptor. Left to the collector, the file would be closed later, and the
	// scheduler, which looks for the descriptor's number, could forget the connection instead.
	file := os.NewFile(uintptr(fd), "connection")
	defer file.Close()
	return net.FileConn(file)
}
