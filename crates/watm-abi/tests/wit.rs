//! The interface as WIT (`wit/` at the root of the repository): that tools accept it, and that it
//! says what this crate says.
//!
//! The types are those that the canonical ABI gives each function. For WATM they are also the types
//! of the core module, since the file uses only numbers, and lists as parameters.

// Miri would spend its time on the parser, which is not ours.
#![cfg(not(miri))]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use watm_abi::{Role, Signature, ValType, names};
use wit_parser::abi::{AbiVariant, WasmType};
use wit_parser::{Function, Resolve, World, WorldId, WorldItem};

/// The functions of the core module: `import` or `export` and the names, with the type of each.
type Functions = BTreeMap<String, String>;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../wit")
}

struct Wit {
    resolve: Resolve,
    worlds: BTreeMap<String, WorldId>,
}

impl Wit {
    fn parse() -> Self {
        let mut resolve = Resolve::default();
        let file = folder().join("watm-v1.wit");
        let text = std::fs::read_to_string(&file).expect("the file is in the repository");
        let package = resolve.push_str(&file, &text).expect("the file is valid");
        let worlds = resolve.packages[package]
            .worlds
            .iter()
            .map(|(name, id)| (name.clone(), *id))
            .collect();
        Wit { resolve, worlds }
    }

    fn world(&self, name: &str) -> &World {
        &self.resolve.worlds[self.worlds[name]]
    }

    fn functions(&self, world: &str) -> Functions {
        let World {
            imports, exports, ..
        } = self.world(world);
        let mut functions = Functions::new();
        for item in imports.values() {
            let WorldItem::Interface { id, .. } = item else {
                panic!("only interfaces are imported: {item:?}");
            };
            let interface = &self.resolve.interfaces[*id];
            for function in interface.functions.values() {
                let module = interface.name.as_deref().expect("it has a name");
                let key = format!("import {module} {}", core_name(function));
                functions.insert(key, self.core_type(AbiVariant::GuestImport, function));
            }
        }
        for item in exports.values() {
            let WorldItem::Function(function) = item else {
                panic!("only functions are exported: {item:?}");
            };
            let key = format!("export {}", core_name(function));
            functions.insert(key, self.core_type(AbiVariant::GuestExport, function));
        }
        functions
    }

    fn core_type(&self, variant: AbiVariant, function: &Function) -> String {
        let signature = self.resolve.wasm_signature(variant, function);
        assert!(
            !signature.indirect_params && !signature.retptr,
            "{}",
            function.name
        );
        let flat = |types: &[WasmType]| types.iter().map(val_type).collect::<Vec<_>>();
        Signature::new(flat(&signature.params), flat(&signature.results)).to_string()
    }
}

fn core_name(function: &Function) -> String {
    function.name.replace('-', "_")
}

fn val_type(ty: &WasmType) -> ValType {
    match ty {
        WasmType::I32 | WasmType::Pointer | WasmType::Length => ValType::I32,
        other => panic!("WATM v1 has no such type: {other:?}"),
    }
}

/// What `watm-abi` asks of a module, without what WASI gives it.
fn interface() -> Functions {
    let imports = watm_abi::imports()
        .filter(|(module, ..)| *module == names::ENV_MODULE)
        .map(|(module, name, ty)| (format!("import {module} {name}"), ty.to_string()));
    let exports = watm_abi::exports()
        .filter(|(name, _)| ![names::INITIALIZE, names::MAIN].contains(name))
        .map(|(name, ty)| (format!("export {name}"), ty.to_string()));
    imports.chain(exports).collect()
}

#[test]
fn the_world_of_every_role_is_the_interface() {
    assert_eq!(Wit::parse().functions("every-role"), interface());
}

#[test]
fn each_role_has_a_world_with_its_export_alone() {
    let wit = Wit::parse();
    let common = wit.functions("transport");
    assert_eq!(common.len(), 3);
    for role in Role::ALL {
        let mut exports = wit.functions(&role.name().replace(' ', "-"));
        exports.retain(|name, _| name.starts_with("export "));
        assert!(
            exports
                .remove(&format!("export {}", role.export()))
                .is_some()
        );
        assert_eq!(exports, common, "{role}");
    }
    assert_eq!(wit.worlds.len(), Role::ALL.len() + 2);
}

#[test]
fn the_table_of_the_document_maps_every_function() {
    let document = std::fs::read_to_string(folder().join("README.md")).expect("it is there");
    let mut table = Functions::new();
    for line in document.lines() {
        let Some(row) = line.strip_prefix("| `") else {
            continue;
        };
        let cells: Vec<String> = row.split('|').map(|cell| cell.replace('`', "")).collect();
        let [wit, core, ty, _] = &cells[..] else {
            panic!("three columns: {line}");
        };
        let (core, ty) = (core.trim(), ty.trim());
        let name = wit.trim().replace('-', "_").replace('.', " ");
        let (kind, rest) = core.split_once(' ').expect("import or export");
        assert_eq!(rest, name, "{kind}");
        table.insert(core.to_owned(), ty.to_owned());
    }
    assert_eq!(table, interface());
}
