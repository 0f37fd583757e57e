//! What the checks have found, as text for people while they run, and as JSON for programs.

use std::io::{self, Write};
use std::path::Path;

use serde::Serialize;
use watm_abi::Role;
use watm_wasmer::ModuleInfo;

use super::rules::{Rule, Severity};
use super::stretches::Pauses;
use crate::inspect::role_name;
use crate::terminal::escape::printable;
use crate::terminal::failure::Failure;
use crate::terminal::output;

/// The version of the JSON format.
const FORMAT: u32 = 1;

/// The result of one check.
#[derive(Debug, Serialize)]
#[serde(rename_all = "lowercase")]
enum Status {
    Passed,
    Broken,
    Skipped,
}

#[derive(Debug, Serialize)]
struct Entry {
    rule: &'static str,
    role: Option<&'static str>,
    status: Status,
    /// How bad it would be, or is.
    severity: Severity,
    seen: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    asks: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    remedy: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pauses: Option<Pauses>,
}

#[derive(Debug, Serialize)]
pub(super) struct Report {
    format: u32,
    file: String,
    sha256: String,
    roles: Vec<&'static str>,
    /// Whether no rule is broken that decides the exit code.
    ok: bool,
    errors: usize,
    warnings: usize,
    notes: usize,
    /// Checks that could not be made.
    skipped: usize,
    checks: Vec<Entry>,
    /// Whether a line is printed for each check.
    #[serde(skip)]
    prints: bool,
    #[serde(skip)]
    is_strict: bool,
    /// What is checked now.
    #[serde(skip)]
    role: Option<Role>,
}

impl Report {
    pub(super) fn new(
        file: &Path,
        info: &ModuleInfo,
        prints: bool,
        is_strict: bool,
    ) -> Result<Self, Failure> {
        let report = Self {
            format: FORMAT,
            file: file.display().to_string(),
            sha256: info.sha256().to_string(),
            roles: info.roles().iter().map(role_name).collect(),
            ok: true,
            errors: 0,
            warnings: 0,
            notes: 0,
            skipped: 0,
            checks: Vec::new(),
            prints,
            is_strict,
            role: None,
        };
        if prints {
            output::write(|out| {
                writeln!(out, "module  {}", printable(&report.file))?;
                writeln!(out, "sha256  {}", report.sha256)
            })?;
        }
        Ok(report)
    }

    /// Begins with the checks of a role.
    pub(super) fn begin(&mut self, role: Role) -> Result<(), Failure> {
        self.role = Some(role);
        self.print(|out| writeln!(out, "\nas a {role}"))
    }

    pub(super) fn passed(
        &mut self,
        rule: &'static Rule,
        seen: impl Into<String>,
    ) -> Result<(), Failure> {
        self.add(rule, Status::Passed, seen.into())
    }

    /// Reports that these checks cannot be made.
    pub(super) fn skipped(&mut self, rules: &[&'static Rule], why: &str) -> Result<(), Failure> {
        self.skipped += rules.len();
        self.judge();
        for rule in rules {
            self.checks.push(Entry {
                rule: rule.id,
                role: self.role.map(role_name),
                status: Status::Skipped,
                severity: rule.severity,
                seen: why.to_owned(),
                asks: None,
                remedy: None,
                pauses: None,
            });
        }
        let names: Vec<&str> = rules.iter().map(|rule| rule.id).collect();
        self.print(|out| {
            writeln!(out, "  not checked: {}", names.join(", "))?;
            writeln!(out, "    {}", printable(why))
        })
    }

    /// Whether the module passes, as far as it is known.
    fn judge(&mut self) {
        let is_spotless = self.warnings == 0 && self.skipped == 0;
        self.ok = self.errors == 0 && (is_spotless || !self.is_strict);
    }

    pub(super) fn broken(
        &mut self,
        rule: &'static Rule,
        seen: impl Into<String>,
    ) -> Result<(), Failure> {
        match rule.severity {
            Severity::Error => self.errors += 1,
            Severity::Warning => self.warnings += 1,
            Severity::Note => self.notes += 1,
        }
        self.judge();
        self.add(rule, Status::Broken, seen.into())
    }

    /// Reports what a check has seen, which is a finding if it is an error.
    pub(super) fn result(
        &mut self,
        rule: &'static Rule,
        result: Result<String, String>,
    ) -> Result<(), Failure> {
        match result {
            Ok(seen) => self.passed(rule, seen),
            Err(seen) => self.broken(rule, seen),
        }
    }

    /// Reports what a check has seen, and whether the rule is kept.
    pub(super) fn judged(
        &mut self,
        rule: &'static Rule,
        is_kept: bool,
        seen: String,
    ) -> Result<(), Failure> {
        self.result(rule, if is_kept { Ok(seen) } else { Err(seen) })
    }

    /// The same, with the numbers behind it.
    pub(super) fn measured(
        &mut self,
        rule: &'static Rule,
        result: Result<String, String>,
        pauses: Pauses,
    ) -> Result<(), Failure> {
        self.result(rule, result)?;
        if let Some(entry) = self.checks.last_mut() {
            entry.pauses = Some(pauses);
        }
        Ok(())
    }

    /// Prints the end. Returns whether the module passes.
    pub(super) fn finish(self) -> Result<bool, Failure> {
        if self.prints {
            let Self {
                errors,
                warnings,
                notes,
                skipped,
                ..
            } = self;
            self.print(|out| {
                writeln!(
                    out,
                    "\nresult  {}: {}, {}, {}{}",
                    if self.ok { "passed" } else { "FAILED" },
                    plural(errors, "error"),
                    plural(warnings, "warning"),
                    plural(notes, "note"),
                    match skipped {
                        0 => String::new(),
                        count => format!(", {} not made", plural(count, "check")),
                    }
                )
            })?;
        } else {
            output::json(&self)?;
        }
        Ok(self.ok)
    }

    fn add(&mut self, rule: &'static Rule, status: Status, seen: String) -> Result<(), Failure> {
        let is_broken = matches!(status, Status::Broken);
        // What was said of the rule need not be repeated for the next role.
        let is_new = !self
            .checks
            .iter()
            .any(|entry| entry.rule == rule.id && matches!(entry.status, Status::Broken));
        let entry = Entry {
            rule: rule.id,
            role: self.role.map(role_name),
            status,
            severity: rule.severity,
            seen,
            asks: is_broken.then_some(rule.asks),
            remedy: is_broken.then_some(rule.remedy),
            pauses: None,
        };
        self.print(|out| entry.write(out, is_new))?;
        self.checks.push(entry);
        Ok(())
    }

    fn print(&self, produce: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Result<(), Failure> {
        if self.prints {
            output::write(produce)?;
        }
        Ok(())
    }
}

fn plural(count: usize, noun: &str) -> String {
    let ending = if count == 1 { "" } else { "s" };
    format!("{count} {noun}{ending}")
}

impl Entry {
    /// Writes the text for people, with all that is known of the rule or only what was seen.
    fn write(&self, out: &mut dyn Write, in_full: bool) -> io::Result<()> {
        let mark = match (&self.status, self.severity) {
            (Status::Passed, _) => "ok",
            (Status::Skipped, _) => "skipped",
            (Status::Broken, Severity::Error) => "ERROR",
            (Status::Broken, Severity::Warning) => "WARNING",
            (Status::Broken, Severity::Note) => "note",
        };
        let line = format!("  {:<20} {mark:<8} {}", self.rule, printable(&self.seen));
        writeln!(out, "{}", line.trim_end())?;
        for (label, text) in [("asked", self.asks), ("remedy", self.remedy)] {
            if let (true, Some(text)) = (in_full, text) {
                writeln!(out, "{:<32}{label}: {text}", "")?;
            }
        }
        Ok(())
    }
}
