package relay

// The export of the role relay.

import "watm/internal/module"

//go:wasmexport watm_associate_v1
func associate() int32 { return module.This.Associate() }
