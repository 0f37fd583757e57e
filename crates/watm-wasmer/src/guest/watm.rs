//! The three functions of the interface itself that a module may import, as the engine sees them.

use wasmer::{AsStoreMut, Function, FunctionEnv};
use watm_abi::{encode_result, names};

use crate::guest::call::{Answer, Ctx, Env, Unwind, run, unwind};
use crate::host::descriptor::{Abort, Call};

pub(super) fn env_function(
    name: &str,
    store: &mut impl AsStoreMut,
    env: &FunctionEnv<Env>,
) -> Option<Function> {
    fn signed(result: Call<u32>) -> Answer {
        match result {
            Ok(value) => Ok(encode_result(Ok(value))),
            Err(Abort::Errno(errno)) => Ok(encode_result(Err(errno))),
            Err(Abort::Stop) => Err(unwind(Unwind::Stop)),
        }
    }
    Some(match name {
        names::WATER_DIAL => Function::new_typed_with_env(
            store,
            env,
            |mut ctx: Ctx<'_>,
             network: i32,
             network_len: i32,
             address: i32,
             address_len: i32|
             -> Answer {
                signed(run(&mut ctx, names::WATER_DIAL, |host, memory| {
                    host.water_dial(
                        memory,
                        (network.cast_unsigned(), network_len.cast_unsigned()),
                        (address.cast_unsigned(), address_len.cast_unsigned()),
                    )
                }))
            },
        ),
        names::WATER_DIAL_FIXED => {
            Function::new_typed_with_env(store, env, |mut ctx: Ctx<'_>| -> Answer {
                signed(run(&mut ctx, names::WATER_DIAL_FIXED, |host, _| {
                    host.water_dial_fixed()
                }))
            })
        }
        names::WATER_ACCEPT => {
            Function::new_typed_with_env(store, env, |mut ctx: Ctx<'_>| -> Answer {
                signed(run(&mut ctx, names::WATER_ACCEPT, |host, _| {
                    host.water_accept()
                }))
            })
        }
        _ => return None,
    })
}
