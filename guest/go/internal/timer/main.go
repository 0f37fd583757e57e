// The module timer is for check: its handshake ends only if timers fire while all connections wait.
package main

import (
	"net"
	"time"

	"watm"
	_ "watm/role/dialer"
	_ "watm/role/listener"
)

type transport struct{}

// Dial sends a byte after a while and waits for that of the peer, which does the same.
func (transport) Dial(network net.Conn) (net.Conn, error) {
	sent := make(chan error, 1)
	go func() {
		time.Sleep(100 * time.Millisecond)
		_, err := network.Write([]byte{1})
		sent <- err
	}()
	if _, err := network.Read(make([]byte, 1)); err != nil {
		return nil, err
	}
	return network, <-sent
}

func (t transport) Accept(network net.Conn) (net.Conn, error) { return t.Dial(network) }

func init() {
	watm.Register(func([]byte) (watm.Transport, error) { return transport{}, nil })
}

func main() {}
