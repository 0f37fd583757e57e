//! What all cases share: the command under test, a directory for its files, and the memory that the
//! command takes for an ordinary module.

use std::cell::RefCell;
use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use watm_wasmer_oracle::assembly::Assembly;

use crate::case::told;
use crate::child::{Child, Output};
use crate::service::Service;

pub(crate) struct Scene {
    watm: PathBuf,
    directory: PathBuf,
    /// Peak memory for an ordinary module, by the arguments.
    baselines: RefCell<HashMap<String, u64>>,
}

impl Scene {
    /// A scene for the command at `watm`, with its files in `directory`.
    pub(crate) fn new(watm: &Path, directory: &Path) -> Result<Self, String> {
        let watm = fs::canonicalize(watm)
            .map_err(|error| format!("{}: {error}; build it first", watm.display()))?;
        Ok(Self {
            watm,
            directory: directory.to_owned(),
            baselines: RefCell::default(),
        })
    }

    pub(crate) fn watm(&self) -> &Path {
        &self.watm
    }

    pub(crate) fn directory(&self) -> &Path {
        &self.directory
    }

    /// The arguments with their placeholders replaced: `FILE` by the input, `CACHE` by a directory
    /// beside it, `GIVEN` by the directory that modules are given.
    pub(crate) fn arguments(&self, args: &[String], file: &Path) -> Vec<String> {
        let file = file.display().to_string();
        let given = self.directory.join("given").display().to_string();
        args.iter()
            .map(|arg| {
                arg.replace("FILE", &file)
                    .replace("CACHE", &format!("{file}.cache"))
                    .replace("GIVEN", &given)
            })
            .collect()
    }

    /// Fills the directory that guests are given with thousands of files.
    pub(crate) fn fill_directory(&self) -> Result<(), String> {
        let given = self.directory.join("given");
        fs::create_dir_all(&given).map_err(told)?;
        for number in 0..2000 {
            fs::write(given.join(format!("file{number}")), b"content").map_err(told)?;
        }
        Ok(())
    }

    /// Peak memory of the command with the same arguments and an ordinary module.
    pub(crate) fn baseline(&self, args: &[String]) -> Result<u64, String> {
        let key = args.join(" ");
        if let Some(peak) = self.baselines.borrow().get(&key) {
            return Ok(*peak);
        }
        let file = self.directory.join("ordinary.wasm");
        fs::write(&file, Assembly::transport().bytes()).map_err(told)?;
        let args = self.arguments(args, &file);
        let ended = Child::start(self, &args, Duration::from_secs(10), Output::Read)?.wait(None)?;
        self.baselines.borrow_mut().insert(key, ended.peak);
        Ok(ended.peak)
    }

    /// Peak memory of a serving command with one client.
    pub(crate) fn service_baseline(&self) -> Result<u64, String> {
        if let Some(peak) = self.baselines.borrow().get("") {
            return Ok(*peak);
        }
        let module = watm_tests::path_of("plain");
        let mut service = Service::listen(self, &module, &[], Output::Read)?;
        service.expect_served()?;
        let peak = service.end()?.peak;
        self.baselines.borrow_mut().insert(String::new(), peak);
        Ok(peak)
    }
}
