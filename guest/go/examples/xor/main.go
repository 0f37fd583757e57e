// The module xor combines every byte with a repeating key, which is the configuration.
package main

import (
	"bytes"
	"net"
	"syscall"

	"watm"
	_ "watm/role/dialer"
	_ "watm/role/listener"
	_ "watm/role/relay"
)

type transport struct{ key []byte }

func (t transport) Dial(network net.Conn) (net.Conn, error) {
	return &conn{Conn: network, key: t.key}, nil
}

func (t transport) Accept(network net.Conn) (net.Conn, error) { return t.Dial(network) }

type conn struct {
	net.Conn
	key            []byte
	sent, received int
}

func (c *conn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	c.received = xor(b[:n], c.key, c.received)
	return n, err
}

func (c *conn) Write(b []byte) (int, error) {
	b = bytes.Clone(b) // a writer must not change what it is given
	c.sent = xor(b, c.key, c.sent)
	return c.Conn.Write(b)
}

func xor(b, key []byte, position int) int {
	for i := range b {
		b[i] ^= key[position]
		position = (position + 1) % len(key)
	}
	return position
}

func init() {
	watm.Register(func(config []byte) (watm.Transport, error) {
		if len(config) == 0 {
			return nil, syscall.EINVAL
		}
		return transport{config}, nil
	})
}

func main() {}
