//! The macro that makes a module of a transport.

/// Makes a module of a [`Transport`](crate::Transport): defines the exports of WATM v1.
///
/// `export!(Type)` exports the roles dialer, listener and relay. A list chooses others:
///
/// | in the list | role | export |
/// | --- | --- | --- |
/// | `dial` | dialer | `watm_dial_v1` |
/// | `dial_fixed` | fixed dialer | `watm_dial_fixed_v1` |
/// | `accept` | listener | `watm_accept_v1` |
/// | `associate` | relay | `watm_associate_v1` |
///
/// A host takes a module's roles from its exports, so list what the transport can do: `dial_fixed`
/// needs [`Transport::address`](crate::Transport::address).
///
/// ```
/// # use watm_guest::{Error, Identity, Result, Stream, Transport};
/// struct Client;
///
/// impl Transport for Client {
///     # type Encoder = Identity;
///     # type Decoder = Identity;
///     # fn new(_config: Option<&[u8]>) -> Result<Self> {
///     #     Ok(Client)
///     # }
///     # fn dial(&mut self, _stream: &mut Stream) -> Result<(Identity, Identity)> {
///     #     Ok((Identity, Identity))
///     # }
///     // ...
///     fn accept(&mut self, _stream: &mut Stream) -> Result<(Identity, Identity)> {
///         Err(Error::NOTSUP)
///     }
/// }
///
/// watm_guest::export!(Client: dial, associate);
/// ```
///
/// Use it once in a module, in the crate that is built as `cdylib` or `bin`. It defines functions
/// only for WASI: elsewhere it checks its arguments, so that the tests of the crate compile.
#[macro_export]
macro_rules! export {
    ($transport:ty $(,)?) => {
        $crate::export!($transport: dial, accept, associate);
    };
    ($transport:ty: $($role:ident),+ $(,)?) => {
        #[cfg(target_os = "wasi")]
        const _: () = {
            ::std::thread_local! {
                static MODULE: $crate::__private::Module<$transport> =
                    const { $crate::__private::Module::new() };
            }

            #[no_mangle]
            extern "C" fn watm_init_v1() -> i32 {
                MODULE.with(|module| module.init())
            }

            #[no_mangle]
            extern "C" fn watm_ctrlpipe_v1(control: i32) -> i32 {
                MODULE.with(|module| module.ctrlpipe(control))
            }

            #[no_mangle]
            extern "C" fn watm_start_v1() -> i32 {
                MODULE.with(|module| module.start())
            }

            $($crate::__export_role!($role);)+
        };

        #[cfg(not(target_os = "wasi"))]
        const _: () = {
            const fn is_transport<T: $crate::Transport>() {}
            is_transport::<$transport>();
            $($crate::__check_role!($role);)+
        };
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __export_role {
    (dial) => {
        #[no_mangle]
        extern "C" fn watm_dial_v1(internal: i32) -> i32 {
            MODULE.with(|module| module.dial(internal))
        }
    };
    (dial_fixed) => {
        #[no_mangle]
        extern "C" fn watm_dial_fixed_v1(internal: i32) -> i32 {
            MODULE.with(|module| module.dial_fixed(internal))
        }
    };
    (accept) => {
        #[no_mangle]
        extern "C" fn watm_accept_v1(internal: i32) -> i32 {
            MODULE.with(|module| module.accept(internal))
        }
    };
    (associate) => {
        #[no_mangle]
        extern "C" fn watm_associate_v1() -> i32 {
            MODULE.with(|module| module.associate())
        }
    };
    ($other:ident) => {
        $crate::__check_role!($other);
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __check_role {
    (dial) => {};
    (dial_fixed) => {};
    (accept) => {};
    (associate) => {};
    ($other:ident) => {
        ::std::compile_error!(::std::concat!(
            "`",
            ::std::stringify!($other),
            "` is no role: dial, dial_fixed, accept, associate"
        ));
    };
}
