package dialer

// The export of the role dialer.

import "watm/internal/module"

//go:wasmexport watm_dial_v1
func dial(internal int32) int32 { return module.This.Dial(internal) }
