package fixeddialer

// The export of the role fixed dialer.

import "watm/internal/module"

//go:wasmexport watm_dial_fixed_v1
func dialFixed(internal int32) int32 { return module.This.DialFixed(internal) }
