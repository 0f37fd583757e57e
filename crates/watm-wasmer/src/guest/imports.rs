//! The functions that a guest imports. Each module of them has its own file; this one selects which
//! of them to bind.

use wasmer::{AsStoreMut, FunctionEnv, Imports};
use watm_abi::names;

use crate::guest::call::Env;
use crate::guest::preview1;
use crate::guest::watm::env_function;
use crate::module::info::ImportedFunction;

/// Makes the functions that the module imports and puts them into `imports`.
pub(crate) fn define(
    imports: &mut Imports,
    imported: &[ImportedFunction],
    store: &mut impl AsStoreMut,
    env: &FunctionEnv<Env>,
) {
    for &(module, name) in imported {
        let function = match module {
            names::ENV_MODULE => env_function(name, store, env),
            names::WASI_MODULE => preview1::function(name, store, env),
            _ => None,
        };
        if let Some(function) = function {
            imports.define(module, name, function);
        }
    }
}
