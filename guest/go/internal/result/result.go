// Package result turns errors into the results of the interface.
package result

import (
	"errors"
	"io"
	"os"
	"syscall"
)

// Of returns 0 for no error, and otherwise a negated error number.
func Of(err error) int32 {
	var number syscall.Errno
	switch {
	case err == nil:
		return 0
	case errors.As(err, &number) && number != 0:
		return -int32(number)
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return -int32(syscall.EPROTO)
	case errors.Is(err, os.ErrDeadlineExceeded):
		return -int32(syscall.ETIMEDOUT)
	default:
		return -int32(syscall.EIO)
	}
}
