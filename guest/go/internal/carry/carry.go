// Package carry moves the bytes of a connection: in both directions, each to its own end, until
// both have ended, one has failed, or control says so. It knows neither hosts nor handshakes.
package carry

import (
	"errors"
	"io"
	"net"
	"syscall"
)

// Size of the pieces, in bytes.
const piece = 16 * 1024

// Connection is what is carried.
type Connection struct {
	Plain   net.Conn  // the application's side
	Wrapped net.Conn  // what the transport made of the network
	Network net.Conn  // the network itself
	Control io.Reader // its first byte, or its end, ends the connection; nil if there is none
}

// writeError is why one direction can deliver nothing more. The other one may go on.
type writeError struct{ error }

func (e writeError) Unwrap() error { return e.error }

// errNoHalfClose says that a direction has ended, and that the host cannot tell the other side.
var errNoHalfClose = errors.New("the host has no half-close")

// Run carries the connection. It returns nil when both directions have ended, ECANCELED if control
// was used, or the first error. A failed write is returned when the other direction has ended: a
// peer that no longer listens may still have last words.
func (c *Connection) Run() error {
	ended := make(chan error, 3)
	go func() { ended <- pump(c.Wrapped, c.Plain, c.endNetwork) }()
	go func() { ended <- pump(c.Plain, c.Wrapped, c.endPlain) }()
	if c.Control != nil {
		go func() { ended <- watch(c.Control) }()
	}
	var broken error
	for range 2 {
		// Control never ends without an error of its own, so these are the two directions.
		err := <-ended
		var failed writeError
		switch {
		case err == errNoHalfClose:
			// Nobody would learn this end while the connection lasts.
			return broken
		case errors.As(err, &failed):
			if broken == nil {
				broken = failed.error
			}
		case err != nil:
			return err
		}
	}
	return broken
}

func (c *Connection) endPlain() error { return closeWrite(c.Plain) }

// endNetwork tells the peer that the application has sent all.
func (c *Connection) endNetwork() error {
	if _, ok := c.Wrapped.(halfCloser); ok {
		return closeWrite(c.Wrapped)
	}
	return closeWrite(c.Network)
}

type halfCloser interface{ CloseWrite() error }

func closeWrite(conn net.Conn) error {
	half, ok := conn.(halfCloser)
	if !ok {
		return nil
	}
	err := half.CloseWrite()
	for _, none := range []error{syscall.ENOSYS, syscall.ENOTSUP, syscall.ENOTSOCK} {
		if errors.Is(err, none) {
			return errNoHalfClose
		}
	}
	// Nobody is left to be told if the connection is gone.
	if err != nil && !errors.Is(err, syscall.ENOTCONN) {
		return writeError{err}
	}
	return nil
}

// pump copies until the end of the stream and then says so.
func pump(to io.Writer, from io.Reader, end func() error) error {
	buffer := make([]byte, piece)
	for {
		count, err := from.Read(buffer)
		if count > 0 {
			// What came before an error is still delivered.
			written, err := to.Write(buffer[:count])
			if err != nil {
				return writeError{err}
			}
			if written != count {
				return io.ErrShortWrite
			}
		}
		if err == io.EOF {
			return end()
		}
		if err != nil {
			return err
		}
	}
}

// watch returns when control is used: always with an error.
func watch(control io.Reader) error {
	_, err := io.ReadFull(control, make([]byte, 1))
	if err == nil || err == io.EOF {
		return syscall.ECANCELED
	}
	return err
}
