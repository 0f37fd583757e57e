//! The functions of the interface and their types: what a WATM v1 module may import and must
//! export.
//!
//! Knows the two tables of WATM v1, the functions of WASI Preview 1 and those of extensions. Must
//! never know what these functions do.

use super::names::{
    ACCEPT, ASSOCIATE, CTRLPIPE, DIAL, DIAL_FIXED, ENV_MODULE, EXT_AEAD, INIT, INITIALIZE, MAIN,
    START, WASI_MODULE, WATER_ACCEPT, WATER_DIAL, WATER_DIAL_FIXED,
};
use crate::{Signature, ValType};

const I32: ValType = ValType::I32;
const I64: ValType = ValType::I64;

/// A function: its name, its parameter types and its result types.
type Function = (&'static str, &'static [ValType], &'static [ValType]);

/// The functions of the module `env`.
const ENV: &[Function] = &[
    // Two arrays of `ciovec`, the network and the address. Each array is an address and a count.
    (WATER_DIAL, &[I32, I32, I32, I32], &[I32]),
    (WATER_DIAL_FIXED, &[], &[I32]),
    (WATER_ACCEPT, &[], &[I32]),
];

/// The functions of WASI Preview 1, including `sock_accept`, which was added last.
const WASI: &[Function] = &[
    ("args_get", &[I32, I32], &[I32]),
    ("args_sizes_get", &[I32, I32], &[I32]),
    ("environ_get", &[I32, I32], &[I32]),
    ("environ_sizes_get", &[I32, I32], &[I32]),
    ("clock_res_get", &[I32, I32], &[I32]),
    ("clock_time_get", &[I32, I64, I32], &[I32]),
    ("fd_advise", &[I32, I64, I64, I32], &[I32]),
    ("fd_allocate", &[I32, I64, I64], &[I32]),
    ("fd_close", &[I32], &[I32]),
    ("fd_datasync", &[I32], &[I32]),
    ("fd_fdstat_get", &[I32, I32], &[I32]),
    ("fd_fdstat_set_flags", &[I32, I32], &[I32]),
    ("fd_fdstat_set_rights", &[I32, I64, I64], &[I32]),
    ("fd_filestat_get", &[I32, I32], &[I32]),
    ("fd_filestat_set_size", &[I32, I64], &[I32]),
    ("fd_filestat_set_times", &[I32, I64, I64, I32], &[I32]),
    ("fd_pread", &[I32, I32, I32, I64, I32], &[I32]),
    ("fd_prestat_get", &[I32, I32], &[I32]),
    ("fd_prestat_dir_name", &[I32, I32, I32], &[I32]),
    ("fd_pwrite", &[I32, I32, I32, I64, I32], &[I32]),
    ("fd_read", &[I32, I32, I32, I32], &[I32]),
    ("fd_readdir", &[I32, I32, I32, I64, I32], &[I32]),
    ("fd_renumber", &[I32, I32], &[I32]),
    ("fd_seek", &[I32, I64, I32, I32], &[I32]),
    ("fd_sync", &[I32], &[I32]),
    ("fd_tell", &[I32, I32], &[I32]),
    ("fd_write", &[I32, I32, I32, I32], &[I32]),
    ("path_create_directory", &[I32, I32, I32], &[I32]),
    ("path_filestat_get", &[I32, I32, I32, I32, I32], &[I32]),
    (
        "path_filestat_set_times",
        &[I32, I32, I32, I32, I64, I64, I32],
        &[I32],
    ),
    ("path_link", &[I32, I32, I32, I32, I32, I32, I32], &[I32]),
    (
        "path_open",
        &[I32, I32, I32, I32, I32, I64, I64, I32, I32],
        &[I32],
    ),
    ("path_readlink", &[I32, I32, I32, I32, I32, I32], &[I32]),
    ("path_remove_directory", &[I32, I32, I32], &[I32]),
    ("path_rename", &[I32, I32, I32, I32, I32, I32], &[I32]),
    ("path_symlink", &[I32, I32, I32, I32, I32], &[I32]),
    ("path_unlink_file", &[I32, I32, I32], &[I32]),
    ("poll_oneoff", &[I32, I32, I32, I32], &[I32]),
    ("proc_exit", &[I32], &[]),
    ("proc_raise", &[I32], &[I32]),
    ("sched_yield", &[], &[I32]),
    ("random_get", &[I32, I32], &[I32]),
    ("sock_accept", &[I32, I32, I32], &[I32]),
    ("sock_recv", &[I32, I32, I32, I32, I32, I32], &[I32]),
    ("sock_send", &[I32, I32, I32, I32, I32], &[I32]),
    ("sock_shutdown", &[I32, I32], &[I32]),
];

/// What a module exports, in the order in which the host calls it.
const EXPORTS: &[Function] = &[
    (INITIALIZE, &[], &[]),
    (MAIN, &[], &[]),
    (INIT, &[], &[I32]),
    (DIAL, &[I32], &[I32]),
    (DIAL_FIXED, &[I32], &[I32]),
    (ACCEPT, &[I32], &[I32]),
    (ASSOCIATE, &[], &[I32]),
    (CTRLPIPE, &[I32], &[I32]),
    (START, &[], &[I32]),
];

/// What a module exports to take the functions of an extension.
const EXTENSION_EXPORTS: &[Function] = &[
    // The place of the first function in the table, and how many there are.
    (EXT_AEAD, &[I32, I32], &[I32]),
];

/// The functions of the extension `watm_ext_aead_v1`, in their order in the table. More may follow
/// them, but none may move or change.
const AEAD: &[Function] = &[
    // The algorithm, the key and its length, and where the handle goes.
    ("aead_key", &[I32, I32, I32, I32], &[I32]),
    // The handle.
    ("aead_close", &[I32], &[I32]),
    // The handle, the nonce, additional data and its length, the input and its length, the output.
    ("aead_seal", &[I32, I32, I32, I32, I32, I32, I32], &[I32]),
    ("aead_open", &[I32, I32, I32, I32, I32, I32, I32], &[I32]),
];

/// The type of a function that a module may import, or `None` if the interface has no such
/// function.
///
/// ```
/// use watm_abi::import_signature;
///
/// let fd_write = import_signature("wasi_snapshot_preview1", "fd_write").expect("it is known");
/// assert_eq!(fd_write.to_string(), "(i32, i32, i32, i32) -> i32");
/// assert_eq!(import_signature("env", "memory"), None);
/// ```
pub fn import_signature(module: &str, name: &str) -> Option<Signature> {
    match module {
        ENV_MODULE => find(ENV, name),
        WASI_MODULE => find(WASI, name),
        _ => None,
    }
}

/// The type of a function that the host calls, or `None` if the interface has no such function.
///
/// ```
/// use watm_abi::{export_signature, names};
///
/// let start = export_signature(names::START).expect("it is known");
/// assert_eq!(start.to_string(), "() -> i32");
/// ```
pub fn export_signature(name: &str) -> Option<Signature> {
    find(EXPORTS, name)
}

/// All functions that a module may import: the module that each comes from, its name and its type.
///
/// ```
/// use watm_abi::{imports, names};
///
/// // A host binds each of them.
/// let of_watm: Vec<_> = imports()
///     .filter(|(module, _, _)| *module == names::ENV_MODULE)
///     .map(|(_, name, _)| name)
///     .collect();
/// assert_eq!(of_watm, ["water_dial", "water_dial_fixed", "water_accept"]);
/// ```
pub fn imports() -> impl Iterator<Item = (&'static str, &'static str, Signature)> {
    let of = |module| move |(name, signature)| (module, name, signature);
    all(ENV)
        .map(of(ENV_MODULE))
        .chain(all(WASI).map(of(WASI_MODULE)))
}

/// All functions that the host calls if a module exports them: the name and the type of each. The
/// memory is not included.
///
/// ```
/// use watm_abi::exports;
///
/// for (name, signature) in exports() {
///     println!("{name}: {signature}");
/// }
/// # assert!(exports().any(|(name, _)| name == "watm_dial_v1"));
/// ```
pub fn exports() -> impl Iterator<Item = (&'static str, Signature)> {
    all(EXPORTS)
}

/// The type of the function with which a module takes an extension, or `None` if there is no such
/// extension. WATM v1 does not know it: a host that does not, either, never calls it.
///
/// ```
/// use watm_abi::{extension_signature, names};
///
/// let take = extension_signature(names::EXT_AEAD).expect("it is known");
/// assert_eq!(take.to_string(), "(i32, i32) -> i32");
/// assert_eq!(extension_signature(names::START), None);
/// ```
pub fn extension_signature(name: &str) -> Option<Signature> {
    find(EXTENSION_EXPORTS, name)
}

/// The functions that `watm_ext_aead_v1` offers, in their order: the name and the type of each.
///
/// ```
/// use watm_abi::aead_functions;
///
/// let names: Vec<_> = aead_functions().map(|(name, _)| name).collect();
/// assert_eq!(names, ["aead_key", "aead_close", "aead_seal", "aead_open"]);
/// ```
pub fn aead_functions() -> impl ExactSizeIterator<Item = (&'static str, Signature)> {
    all(AEAD)
}

fn all(functions: &'static [Function]) -> impl ExactSizeIterator<Item = (&'static str, Signature)> {
    functions
        .iter()
        .map(|(name, params, results)| (*name, Signature::from_static(params, results)))
}

fn find(functions: &'static [Function], name: &str) -> Option<Signature> {
    all(functions)
        .find(|(known, _)| *known == name)
        .map(|(_, signature)| signature)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    /// The types of WASI Preview 1, transcribed as letters from its published C header, so that the
    /// table above is not compared with itself. `w` is a 32-bit value and `x` is a 64-bit one. The
    /// result follows after `>`.
    const PREVIEW1: &str = "
        args_get ww>w            args_sizes_get ww>w       environ_get ww>w
        environ_sizes_get ww>w   clock_res_get ww>w        clock_time_get wxw>w
        fd_advise wxxw>w         fd_allocate wxx>w         fd_close w>w
        fd_datasync w>w          fd_fdstat_get ww>w        fd_fdstat_set_flags ww>w
        fd_fdstat_set_rights wxx>w  fd_filestat_get ww>w   fd_filestat_set_size wx>w
        fd_filestat_set_times wxxw>w  fd_pread wwwxw>w     fd_prestat_get ww>w
        fd_prestat_dir_name www>w  fd_pwrite wwwxw>w       fd_read wwww>w
        fd_readdir wwwxw>w       fd_renumber ww>w          fd_seek wxww>w
        fd_sync w>w              fd_tell ww>w              fd_write wwww>w
        path_create_directory www>w  path_filestat_get wwwww>w
        path_filestat_set_times wwwwxxw>w  path_link wwwwwww>w  path_open wwwwwxxww>w
        path_readlink wwwwww>w   path_remove_directory www>w  path_rename wwwwww>w
        path_symlink wwwww>w     path_unlink_file www>w    poll_oneoff wwww>w
        proc_exit w>             proc_raise w>w            sched_yield >w
        random_get ww>w          sock_accept www>w         sock_recv wwwwww>w
        sock_send wwwww>w        sock_shutdown ww>w";

    fn letters(signature: &Signature) -> String {
        let letter = |ty: &ValType| if *ty == ValType::I64 { 'x' } else { 'w' };
        let params: String = signature.params.iter().map(letter).collect();
        let results: String = signature.results.iter().map(letter).collect();
        format!("{params}>{results}")
    }

    #[test]
    fn wasi_preview_1_has_46_functions_with_their_types() {
        let words: Vec<&str> = PREVIEW1.split_whitespace().collect();
        let (expected, _) = words.as_chunks::<2>();
        assert_eq!(expected.len(), 46);
        assert_eq!(WASI.len(), 46);
        for [name, types] in expected {
            let signature = import_signature(WASI_MODULE, name).unwrap_or_else(|| panic!("{name}"));
            assert_eq!(letters(&signature), *types, "{name}");
        }
    }

    #[test]
    fn the_imports_of_env_are_those_of_the_interface() {
        let print = |name| import_signature("env", name).map(|signature| signature.to_string());
        assert_eq!(print("water_dial").unwrap(), "(i32, i32, i32, i32) -> i32");
        assert_eq!(print("water_dial_fixed").unwrap(), "() -> i32");
        assert_eq!(print("water_accept").unwrap(), "() -> i32");
        assert_eq!(print("memory"), None);
    }

    #[test]
    fn the_exports_are_those_of_the_interface() {
        let exports: Vec<String> = exports()
            .map(|(name, signature)| format!("{name} {signature}"))
            .collect();
        let expected = [
            "_initialize () -> ()",
            "_start () -> ()",
            "watm_init_v1 () -> i32",
            "watm_dial_v1 (i32) -> i32",
            "watm_dial_fixed_v1 (i32) -> i32",
            "watm_accept_v1 (i32) -> i32",
            "watm_associate_v1 () -> i32",
            "watm_ctrlpipe_v1 (i32) -> i32",
            "watm_start_v1 () -> i32",
        ];
        assert_eq!(exports, expected);
    }

    #[test]
    fn the_functions_of_an_extension_keep_their_places_and_types() {
        let print = |name| extension_signature(name).map(|signature| signature.to_string());
        assert_eq!(print("watm_ext_aead_v1").unwrap(), "(i32, i32) -> i32");
        assert_eq!(print("watm_ext_aead_v2"), None);
        // Modules are built for these.
        let functions: Vec<String> = aead_functions()
            .map(|(name, signature)| format!("{name} {}", letters(&signature)))
            .collect();
        let expected = [
            "aead_key wwww>w",
            "aead_close w>w",
            "aead_seal wwwwwww>w",
            "aead_open wwwwwww>w",
        ];
        assert_eq!(functions, expected);
    }

    #[test]
    fn every_function_is_listed_once_and_found_by_its_name() {
        let mut seen = HashSet::new();
        for (module, name, signature) in imports() {
            assert!(seen.insert((module, name)), "{name}");
            assert_eq!(import_signature(module, name), Some(signature));
        }
        assert_eq!(seen.len(), 49);
        for (name, signature) in exports() {
            assert_eq!(export_signature(name), Some(signature));
        }
    }

    #[test]
    fn functions_of_other_modules_and_versions_are_unknown() {
        assert_eq!(import_signature("wasi_unstable", "fd_read"), None);
        assert_eq!(import_signature("env", "fd_read"), None);
        assert_eq!(
            import_signature("wasi_snapshot_preview1", "water_dial"),
            None
        );
        assert_eq!(
            import_signature("wasi_snapshot_preview1", "sock_open"),
            None
        );
        assert_eq!(export_signature("memory"), None);
        assert_eq!(export_signature("watm_init_v2"), None);
    }
}
