// Package watm is what a WebAssembly Transport Module (WATM v1) in Go is written against. An author
// says how a network connection is wrapped, as crypto/tls wraps one. The library owns the rest: the
// exports, the descriptors, copying in both directions, half-close, the control pipe, the
// configuration and the log.
//
// # A module
//
// A module is a package main that registers a transport in an init function and imports the roles
// that it can do:
//
//	package main
//
//	import (
//		"net"
//
//		"watm"
//		_ "watm/role/dialer"
//		_ "watm/role/listener"
//	)
//
//	type transport struct{ key []byte }
//
//	func (t transport) Dial(conn net.Conn) (net.Conn, error)   { return wrap(conn, t.key), nil }
//	func (t transport) Accept(conn net.Conn) (net.Conn, error) { return wrap(conn, t.key), nil }
//
//	func init() {
//		watm.Register(func(config []byte) (watm.Transport, error) { return transport{config}, nil })
//	}
//
//	func main() {}
//
// main never runs. It is built as a library for WASI:
//
//	GOOS=wasip1 GOARCH=wasm go build -buildmode=c-shared -o module.wasm
//
// # Roles
//
// A host reads from the exports of a module what it can do, and a package that is linked brings its
// export. So each role is an import:
//
//	watm/role/dialer       connects to the address that the host chose
//	watm/role/fixeddialer  connects to an address of its own choice: see [FixedDialer]
//	watm/role/listener     accepts a connection of the host's listener: see [Acceptor]
//	watm/role/relay        accepts a connection, which takes the place of the application and is
//	                       not wrapped, and connects it to the address that the host chose
//
// # A connection
//
// An instance of a module serves one connection. Dial or Accept does the handshake on the network,
// as blocking code; the host bounds the time that it may take. Then bytes are copied between the
// application and the connection that it returned, in pieces of up to 16 KiB, by one goroutine for
// each direction. Goroutines of the transport run beside them. The loop ends when both directions
// have ended, when one has failed, or when the host says so on the control pipe. A failed write
// ends its direction alone: its error is reported when the other direction has ended as well, so
// that the last words of a peer that no longer listens arrive.
//
// The end of what the application sends ends what the network is sent, and the other direction goes
// on. If the returned connection has a method CloseWrite, as [crypto/tls.Conn] does, that is
// called. Otherwise the network's writing side is ended directly. A connection that keeps bytes
// back when Write returns therefore needs CloseWrite, and [CloseWrite] is what it calls on the
// network in the end. On a host without half-close (ENOSYS, ENOTSUP or ENOTSOCK), the end of one
// direction ends the connection.
//
// Read returns [io.EOF] only at an end that the protocol allows. A stream that was cut, within a
// frame for example, is [io.ErrUnexpectedEOF]. Otherwise a part would be taken for the whole.
//
// # Errors
//
// The interface has numbers for errors, those of WASI, and an error becomes the [syscall.Errno]
// that it wraps:
//
//	return nil, fmt.Errorf("the greeting is wrong: %w", syscall.EPROTO)
//
// [io.EOF] in a handshake and [io.ErrUnexpectedEOF] become EPROTO, [os.ErrDeadlineExceeded] becomes
// ETIMEDOUT, and any other error EIO. The text goes to the log.
//
// # TinyGo
//
// The package is written for TinyGo too:
//
//	tinygo build -target=wasip1 -buildmode=c-shared -o module.wasm
//
// There, connections wait in a poll of their own, since its package net takes no descriptors, and
// have no deadlines. While all connections are quiet, a timer may fire up to 50 ms late. That code
// is tested with the standard compiler, by the build tag watm_poll. It has not been built with
// TinyGo itself.
package watm

import (
	"net"

	"watm/internal/module"
)

// A Transport wraps the network side of a connection as the side that has dialled. The roles
// dialer, fixed dialer and relay use it.
type Transport interface {
	// Dial does the handshake, if there is one, and returns what encodes the bytes that are
	// written to it and decodes those that are read. It may return network itself.
	Dial(network net.Conn) (net.Conn, error)
}

// An Acceptor is a transport that can be a listener: it also wraps the network side as the side
// that has accepted.
type Acceptor interface {
	Transport
	Accept(network net.Conn) (net.Conn, error)
}

// A FixedDialer is a transport that can be a fixed dialer: it knows where to connect to.
type FixedDialer interface {
	Transport
	// FixedAddress returns the network, "tcp", "tcp4" or "tcp6", and the address, "host:port" or
	// "[v6]:port". Both have at most 256 bytes.
	FixedAddress() (network, address string, err error)
}

// Register sets what makes the transport of this module. It is called once, from an init function.
//
// The host calls newTransport once, before anything else, with the configuration: nil if the
// embedder gave none. An error refuses the configuration; it wraps [syscall.EINVAL], as a rule.
func Register(newTransport func(config []byte) (Transport, error)) {
	module.This.New = func(config []byte) (module.Transport, error) {
		transport, err := newTransport(config)
		if err != nil {
			return module.Transport{}, err
		}
		functions := module.Transport{Dial: transport.Dial}
		if acceptor, ok := transport.(Acceptor); ok {
			functions.Accept = acceptor.Accept
		}
		if fixed, ok := transport.(FixedDialer); ok {
			functions.Address = fixed.FixedAddress
		}
		return functions, nil
	}
}

// CloseWrite ends the stream that this side writes to a connection, if the connection can do that:
// if it has a method CloseWrite. The connections that [Transport.Dial] and [Acceptor.Accept] get
// have one.
func CloseWrite(conn net.Conn) error {
	if half, ok := conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return nil
}

// Logf logs one line, in one write to standard error, which hosts make a record of their own log.
func Logf(format string, args ...any) {
	module.Logf(format, args...)
}
