package module

// The exports that every module has. Those of the roles are in the packages below watm/role.

//go:wasmexport watm_init_v1
func exportInit() int32 { return This.Init() }

//go:wasmexport watm_ctrlpipe_v1
func exportControl(fd int32) int32 { return This.Control(fd) }

//go:wasmexport watm_start_v1
func exportStart() int32 { return This.Start() }
