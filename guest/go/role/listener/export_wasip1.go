package listener

// The export of the role listener.

import "watm/internal/module"

//go:wasmexport watm_accept_v1
func accept(internal int32) int32 { return module.This.Accept(internal) }
