// A transport: how a connection begins, and what happens to its bytes.
//
// This one combines each direction with a repeating key, the configuration. That hides bytes from
// those who do not look closely, and from nobody else: put your own protocol in its place.
//
// Where to go on:
//
//   - newTransport reads the configuration: the file that --config names, as a whole.
//   - Dial and Accept are the handshake. They may read and write the network, and block meanwhile.
//   - Read and Write of the connection that they return decode and encode. If Write keeps bytes
//     back, the connection needs a method CloseWrite. Read returns io.EOF only at an end that the
//     protocol allows.
//   - watm/examples/framed has a handshake, frames, and an end that no cut looks like.
//     `go doc -all watm` describes everything.
package main

import (
	"bytes"
	"fmt"
	"net"
	"syscall"

	"watm"
	// The roles of the module: what a host can do with it.
	_ "watm/role/dialer"
	_ "watm/role/listener"
	_ "watm/role/relay"
)

type transport struct{ key []byte }

// newTransport is called once. An error refuses the configuration.
func newTransport(config []byte) (watm.Transport, error) {
	if len(config) == 0 {
		return nil, fmt.Errorf("a key is needed, the configuration: %w", syscall.EINVAL)
	}
	return transport{config}, nil
}

// Dial is the handshake of the side that has dialled. Here, neither side says anything.
func (t transport) Dial(network net.Conn) (net.Conn, error) {
	return &conn{Conn: network, key: t.key}, nil
}

// Accept is the handshake of the side that has accepted.
func (t transport) Accept(network net.Conn) (net.Conn, error) { return t.Dial(network) }

// conn is the network with the transport around it. Each direction has its place in the key.
type conn struct {
	net.Conn
	key            []byte
	sent, received int
}

// Read is called for bytes from the network, on their way to the application.
func (c *conn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	c.received = xor(b[:n], c.key, c.received)
	return n, err
}

// Write is called for bytes from the application, on their way to the network.
func (c *conn) Write(b []byte) (int, error) {
	b = bytes.Clone(b) // a writer must not change what it is given
	c.sent = xor(b, c.key, c.sent)
	return c.Conn.Write(b)
}

// xor combines the bytes with the key from a position on, and returns the position after them.
func xor(b, key []byte, position int) int {
	for i := range b {
		b[i] ^= key[position]
		position = (position + 1) % len(key)
	}
	return position
}

func init() { watm.Register(newTransport) }

// main never runs: the host calls the exports that the roles bring.
func main() {}
