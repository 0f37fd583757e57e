//! `watm check`: a conformance report on a module, made by running it. The real host runs the
//! module in each of its roles; what uses it and its peer follow a script.
//!
//! ```text
//! near side - the module - network - its partner - far side
//! ```
//!
//! The partner is the module itself in the opposite role, another module, or a plain socket. A probe
//! in the host counts what the module asks for, and has streams answer as those of other hosts do.

mod arrivals;
mod damage;
mod data;
mod economy;
mod flow;
mod line;
mod others;
mod partner;
mod probe;
mod refusal;
mod report;
mod rules;
mod set_up;
mod side;
mod stretches;
mod tap;

use std::path::Path;

use watm_abi::Role;
use watm_wasmer::{ModuleInfo, TransportModule};

use self::line::{Line, Subject};
use self::partner::{Given, Partner};
use self::probe::Manner;
use self::report::Report;
use self::rules::Rule;
use crate::args::{CheckArgs, TransportArgs};
use crate::inspect::role_name;
use crate::setup;
use crate::terminal::failure::{Failure, chain};

/// The exit code if the module could not be checked. 1 says that it does not pass.
const NOT_CHECKED: u8 = 3;

pub(crate) fn run(args: &CheckArgs) -> Result<(), Failure> {
    match passes(args) {
        Ok(true) => Ok(()),
        Ok(false) => Err(Failure::silent()),
        Err(failure) => Err(failure.with_exit_code(NOT_CHECKED)),
    }
}

/// Checks a module, and returns whether it passes.
fn passes(args: &CheckArgs) -> Result<bool, Failure> {
    let loader = setup::loader(&args.module, &args.load)?;
    let bytes = loader.read_file(&args.module)?;
    setup::verify(&loader, &bytes)?;
    let info = ModuleInfo::parse(&bytes)?;
    let is_whole = info.problems().is_empty();
    let roles = if is_whole {
        roles(args, &info)?
    } else {
        Vec::new()
    };
    // They may be pipes, which can be read once.
    let read = |path: Option<&Path>, option| {
        path.map(|path| setup::read_config(path, option))
            .transpose()
    };
    let config = read(setup::one_config(&args.transport)?, "--config")?;
    let peer_config = read(args.peer_config.as_deref(), "--peer-config")?;
    let peer = match &args.peer {
        Some(path) => {
            // The signature that is named is that of the module. The peer's is beside it.
            let mut load = args.load.clone();
            load.trust.signature = None;
            Some(setup::load(path, &load)?)
        }
        None => None,
    };
    let mut report = Report::new(&args.module, &info, !args.json, args.strict)?;
    let mut problems: Vec<String> = info.problems().iter().map(|p| chain(p)).collect();
    if problems.is_empty() {
        match loader.load_bytes(&bytes) {
            Ok(module) => {
                report.passed(&rules::INTERFACE, info.roles().to_string())?;
                let checked = Checked {
                    args,
                    transport: TransportArgs {
                        config: Vec::new(),
                        ..args.transport.clone()
                    },
                    module: &module,
                    config: config.as_deref(),
                    peer: peer.as_ref().unwrap_or(&module),
                    peer_config: peer_config.as_deref().or(config.as_deref()),
                };
                checked.check(&roles, &mut report)?;
            }
            Err(error) => problems.push(chain(&error)),
        }
    }
    for problem in problems {
        report.broken(&rules::INTERFACE, problem)?;
    }
    report.finish()
}

/// The roles to check: those that were asked for, or all that the module has.
fn roles(args: &CheckArgs, info: &ModuleInfo) -> Result<Vec<Role>, Failure> {
    let has = info.roles();
    let asked: Vec<Role> = args.role.iter().map(|role| (*role).into()).collect();
    if let Some(missing) = asked.iter().find(|role| !has.contains(**role)) {
        let names: Vec<&str> = has.iter().map(role_name).collect();
        let roles = if names.is_empty() {
            "none".to_owned()
        } else {
            names.join(", ")
        };
        return Err(Failure::new(format!(
            "the module has no role {}; its roles: {roles}",
            role_name(*missing)
        ))
        .hint("give a role that it has with --role, or leave it out to check all"));
    }
    Ok(if asked.is_empty() {
        has.iter().collect()
    } else {
        has.iter().filter(|role| asked.contains(role)).collect()
    })
}

/// What is checked, and with what.
struct Checked<'a> {
    args: &'a CheckArgs,
    /// What both modules get, without the configurations.
    transport: TransportArgs,
    module: &'a TransportModule,
    config: Option<&'a [u8]>,
    peer: &'a TransportModule,
    peer_config: Option<&'a [u8]>,
}

impl Checked<'_> {
    fn check(&self, roles: &[Role], report: &mut Report) -> Result<(), Failure> {
        for (index, role) in roles.iter().enumerate() {
            let subjects = self.subjects(*role);
            if index == 0 && !set_up::init(&subjects[0], report)? {
                return Ok(());
            }
            report.begin(*role)?;
            self.check_role(&subjects, report)?;
        }
        Ok(())
    }

    fn check_role(&self, subjects: &[Subject<'_>], report: &mut Report) -> Result<(), Failure> {
        let size = usize::try_from(self.args.size).unwrap_or(usize::MAX).max(1);
        let Some(subject) = &set_up::role(subjects, report)? else {
            return Ok(());
        };
        set_up::refused_dial(subject, report)?;
        set_up::strange_peers(subject, report)?;
        set_up::silent_peer(subject, report)?;
        let is_alone = !subject.partner.is_module() && !subject.client.is_module();
        if is_alone && !data::passes_through(subject)? {
            return report.skipped(
                rules::WITH_DATA,
                "what arrives at a plain socket is not what was sent: name a module that turns it \
                 back with --peer",
            );
        }
        // Whatever else is wrong with such a module would be seen as the same.
        let Some(size) = data::pieces(subject, size, report)? else {
            return report.skipped(rules::AFTER_DATA, "not all bytes arrived");
        };
        data::one_way(subject, report)?;
        data::both_ways(subject, size, report)?;
        data::slow_reader(subject, report)?;
        data::both_full(subject, report)?;
        data::end_of_stream(subject, report)?;
        data::reset(subject, report)?;
        data::control(subject, report)?;
        damage::cut(subject, report)?;
        damage::altered(subject, report)?;
        economy::idle(subject, report)?;
        economy::calls(subject, report)?;
        economy::long_run(subject, size, report)?;
        others::hosts(subject, report)
    }

    /// The module in a role with the partners that it may work with, the most likely first. The
    /// partner is a module in the opposite role, or else a plain socket. A relay may expect plain
    /// clients and do a handshake with its remote, or the other way round, or both.
    fn subjects(&self, role: Role) -> Vec<Subject<'_>> {
        let dialer = self.partner(&[Role::Dialer, Role::FixedDialer]);
        let listener = self.partner(&[Role::Listener]);
        let socket = Some(Partner::Socket);
        let partners = match role {
            Role::Listener => vec![(socket, dialer)],
            Role::Dialer | Role::FixedDialer => vec![(socket, listener)],
            Role::Relay => vec![(socket, listener), (dialer, listener), (dialer, socket)],
        };
        let with = |(client, partner)| {
            Some(Subject {
                given: Given {
                    module: self.module,
                    args: &self.transport,
                    config: self.config,
                },
                role,
                client: client?,
                partner: partner?,
                tap: None,
            })
        };
        let mut subjects: Vec<Subject<'_>> = partners.into_iter().filter_map(with).collect();
        let has_own_peer = self.args.peer.is_some() || self.args.peer_config.is_some();
        if subjects.is_empty() || !has_own_peer {
            subjects.extend(with((socket, socket)));
        }
        subjects
    }

    /// The partner in the first of these roles that it has.
    fn partner(&self, roles: &[Role]) -> Option<Partner<'_>> {
        let has = self.peer.roles();
        let role = roles.iter().find(|role| has.contains(**role))?;
        let given = Given {
            module: self.peer,
            args: &self.transport,
            config: self.peer_config,
        };
        Some(Partner::Module(given, *role))
    }
}

/// A connection, or why there is none.
fn opened(subject: &Subject<'_>, manner: Manner) -> Result<Result<Line, String>, Failure> {
    match subject.open(manner) {
        Ok(line) => Ok(Ok(line)),
        Err(refusal) => Ok(Err(refusal.into_text()?.0)),
    }
}

/// A connection to check a rule with. If it cannot be set up, that breaks the rule.
fn or_broken(
    subject: &Subject<'_>,
    manner: Manner,
    rule: &'static Rule,
    report: &mut Report,
) -> Result<Option<Line>, Failure> {
    match opened(subject, manner)? {
        Ok(line) => Ok(Some(line)),
        Err(text) => {
            report.broken(rule, text)?;
            Ok(None)
        }
    }
}
