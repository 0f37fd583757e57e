package result

// Which number an error becomes.

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"syscall"
	"testing"
)

func TestErrorsBecomeNumbers(t *testing.T) {
	broken := &net.OpError{Op: "read", Err: os.NewSyscallError("read", syscall.EPIPE)}
	wrapped := fmt.Errorf("the greeting is wrong: %w", syscall.EPROTO)
	cases := map[string]struct {
		err      error
		expected syscall.Errno
	}{
		"none":                  {nil, 0},
		"a number":              {syscall.ECONNRESET, syscall.ECONNRESET},
		"a wrapped number":      {wrapped, syscall.EPROTO},
		"one of package net":    {broken, syscall.EPIPE},
		"the end, unexpected":   {io.ErrUnexpectedEOF, syscall.EPROTO},
		"the end in a greeting": {fmt.Errorf("greeting: %w", io.EOF), syscall.EPROTO},
		"a deadline":            {os.ErrDeadlineExceeded, syscall.ETIMEDOUT},
		"no number":             {errors.New("bad record"), syscall.EIO},
		"a number for success":  {syscall.Errno(0), syscall.EIO},
	}
	for name, c := range cases {
		if got := Of(c.err); got != -int32(c.expected) {
			t.Errorf("%s: %d, not %d", name, got, -int32(c.expected))
		}
	}
}
