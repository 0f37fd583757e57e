package module

// The host, through the imports of the module and its file of configuration.

import (
	"errors"
	"io/fs"
	"os"
	"runtime"
	"syscall"
	"unsafe"
)

//go:wasmimport env water_dial
func waterDial(networks unsafe.Pointer, n int32, addresses unsafe.Pointer, m int32) (fd int32)

//go:wasmimport env water_dial_fixed
func waterDialFixed() int32

//go:wasmimport env water_accept
func waterAccept() int32

func init() {
	This.Host = Host{
		Dial:          dial,
		DialFixed:     func() int32 { return waterDialFixed() },
		Accept:        func() int32 { return waterAccept() },
		Open:          open,
		Announce:      announce,
		Configuration: configuration,
	}
}

// ciovec is a buffer as WASI takes it, with addresses of 32 bits.
type ciovec struct {
	address uint32
	length  uint32
}

func ciovecOf(text string) ciovec {
	return ciovec{uint32(uintptr(unsafe.Pointer(unsafe.StringData(text)))), uint32(len(text))}
}

func dial(network, address string) int32 {
	networks, addresses := ciovecOf(network), ciovecOf(address)
	fd := waterDial(unsafe.Pointer(&networks), 1, unsafe.Pointer(&addresses), 1)
	runtime.KeepAlive(network)
	runtime.KeepAlive(address)
	return fd
}

func configuration() ([]byte, error) {
	config, err := os.ReadFile("/conf/watm.cfg")
	// Without a configuration, hosts differ: no such file, or no directory that could hold it.
	for _, none := range []error{fs.ErrNotExist, syscall.EBADF, syscall.ENOTCAPABLE} {
		if errors.Is(err, none) {
			return nil, nil
		}
	}
	return config, err
}
