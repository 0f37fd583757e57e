//! The functions of the extension `watm_ext_aead_v1` as the engine sees them, and how they reach
//! the guest: through its function table.
//!
//! WebAssembly has no optional imports. A module that imported these functions would load on no
//! other host.

use wasmer::{AsStoreMut, Function, FunctionEnv, Instance, Type, Value};
use watm_abi::{aead_functions, names};

use crate::guest::call::{Answer, Ctx, Env, call};

/// Binds each function of the list. Each line has the function's name, which is also the name of
/// the host's method, and the parameters.
macro_rules! functions {
    ($($name:ident($($param:ident),*);)*) => {
        /// The function with this name, if there is one.
        fn function(
            name: &str,
            store: &mut impl AsStoreMut,
            env: &FunctionEnv<Env>,
        ) -> Option<Function> {
            $(if name == stringify!($name) {
                let function = |mut ctx: Ctx<'_>, $($param: u32),*| -> Answer {
                    call(&mut ctx, stringify!($name), |host, memory| {
                        host.$name(memory, $($param),*)
                    })
                };
                return Some(Function::new_typed_with_env(store, env, function));
            })*
            None
        }

        #[cfg(test)]
        const BOUND: &[(&str, usize)] = &[$((stringify!($name), [$(stringify!($param)),*].len())),*];
    };
}

functions! {
    aead_key(algorithm, key, key_len, handle);
    aead_close(handle);
    aead_seal(handle, nonce, aad, aad_len, input, input_len, output);
    aead_open(handle, nonce, aad, aad_len, input, input_len, output);
}

/// Where the functions are in a guest's table.
pub(super) struct Place {
    pub(super) first: u32,
    pub(super) count: u32,
}

/// Appends the functions to the guest's table, in their order.
pub(super) fn place(
    instance: &Instance,
    store: &mut impl AsStoreMut,
    env: &FunctionEnv<Env>,
) -> Result<Place, String> {
    let table = instance.exports.get_table(names::TABLE);
    let table = table.map_err(|error| error.to_string())?.clone();
    if table.ty(store).ty != Type::FuncRef {
        return Err("its table holds no functions".into());
    }
    let functions: Option<Vec<Function>> = aead_functions()
        .map(|(name, _)| function(name, store, env))
        .collect();
    let functions = functions.ok_or("a function is not bound")?;
    let count = u32::try_from(functions.len()).map_err(|error| error.to_string())?;
    let first = table
        .grow(store, count, Value::FuncRef(None))
        .map_err(|error| error.message())?;
    for (index, function) in (first..).zip(functions) {
        table
            .set(store, index, Value::FuncRef(Some(function)))
            .map_err(|error| error.message())?;
    }
    Ok(Place { first, count })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_function_of_the_extension_is_bound() {
        let all: Vec<(&str, usize)> = aead_functions()
            .map(|(name, signature)| (name, signature.params.len()))
            .collect();
        assert_eq!(BOUND, all);
    }
}
