// The module framed exchanges a greeting from both sides, then frames with a 2-byte length. A frame
// of no bytes is the last one, so that a stream that was cut never looks like one that has ended,
// also not between two frames. The configuration is the address of the fixed dialer, "host:port",
// if there is one.
package main

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"strings"
	"syscall"

	"watm"
	_ "watm/role/dialer"
	_ "watm/role/fixeddialer"
	_ "watm/role/listener"
	_ "watm/role/relay"
)

const (
	head     = 2
	frameMax = 16384

	dialled  = "framed 1, dialled\n"
	accepted = "framed 1, accepted\n"
)

type transport struct{ server string }

func (t transport) Dial(network net.Conn) (net.Conn, error) {
	c := newConn(network)
	if err := c.greet(dialled); err != nil {
		return nil, err
	}
	return c, c.expect(accepted)
}

func (t transport) Accept(network net.Conn) (net.Conn, error) {
	c := newConn(network)
	if err := c.expect(dialled); err != nil {
		return nil, err
	}
	return c, c.greet(accepted)
}

func (t transport) FixedAddress() (network, address string, err error) {
	if t.server == "" {
		return "", "", fmt.Errorf("no address in the configuration: %w", syscall.EINVAL)
	}
	return "tcp", t.server, nil
}

// conn reads from one buffer all the time, so that nothing behind the greeting is lost.
type conn struct {
	net.Conn
	reader *bufio.Reader
	frame  [head + frameMax]byte // the one that is written
	left   int                   // of the frame that is read
	ended  bool
}

func newConn(network net.Conn) *conn {
	return &conn{Conn: network, reader: bufio.NewReaderSize(network, head+frameMax)}
}

func (c *conn) greet(greeting string) error {
	_, err := io.WriteString(c.Conn, greeting)
	return err
}

func (c *conn) expect(greeting string) error {
	received := make([]byte, len(greeting))
	if _, err := io.ReadFull(c.reader, received); err != nil {
		return fmt.Errorf("the greeting: %w", err)
	}
	if string(received) != greeting {
		return fmt.Errorf("the peer does not speak this protocol: %w", syscall.EPROTO)
	}
	return nil
}

func (c *conn) Read(b []byte) (int, error) {
	if c.left == 0 && !c.ended {
		if err := c.readHead(); err != nil {
			return 0, err
		}
	}
	if c.ended {
		return 0, io.EOF
	}
	n, err := c.reader.Read(b[:min(len(b), c.left)])
	c.left -= n
	return n, unexpected(err)
}

func (c *conn) readHead() error {
	var length [head]byte
	if _, err := io.ReadFull(c.reader, length[:]); err != nil {
		return unexpected(err)
	}
	c.left = int(binary.BigEndian.Uint16(length[:]))
	if c.left > frameMax {
		return fmt.Errorf("a frame of %d bytes: %w", c.left, syscall.EPROTO)
	}
	c.ended = c.left == 0
	return nil
}

// unexpected turns an end of the stream before the last frame into an error.
func unexpected(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

func (c *conn) Write(b []byte) (int, error) {
	for done := 0; done < len(b); {
		n := min(len(b)-done, frameMax)
		if err := c.writeFrame(b[done : done+n]); err != nil {
			return done, err
		}
		done += n
	}
	return len(b), nil
}

func (c *conn) writeFrame(b []byte) error {
	binary.BigEndian.PutUint16(c.frame[:], uint16(len(b)))
	n := head + copy(c.frame[head:], b)
	_, err := c.Conn.Write(c.frame[:n])
	return err
}

func (c *conn) CloseWrite() error {
	if err := c.writeFrame(nil); err != nil {
		return err
	}
	return watm.CloseWrite(c.Conn)
}

func init() {
	watm.Register(func(config []byte) (watm.Transport, error) {
		return transport{server: strings.TrimSpace(string(config))}, nil
	})
}

func main() {}
