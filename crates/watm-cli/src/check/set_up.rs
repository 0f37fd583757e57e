//! Checks what comes before there is data: init, the role's function, and peers that do not speak
//! the module's protocol.

use std::sync::Arc;

use watm_abi::{Role, names};
use watm_wasmer::ExportReturn;

use super::flow::{self, STALL, pattern};
use super::line::{Given, Subject, ended};
use super::probe::{Manner, Probe};
use super::report::Report;
use super::rules;
use super::side::Side;
use crate::args::TransportArgs;
use crate::terminal::bytes::count;
use crate::terminal::failure::Failure;

/// Bytes of garbage that a peer sends.
const GARBAGE: usize = 64 << 10;
/// What a function returns for a role that the module does not have: EPERM, ENOSYS and ENOTSUP,
/// negated.
const UNSUPPORTED: [i32; 3] = [-63, -52, -58];

/// Checks init in one of the module's roles. Returns whether it succeeds with the configuration
/// that was given.
pub(super) fn init(subject: &Subject<'_>, report: &mut Report) -> Result<bool, Failure> {
    let subject = subject.with_socket();
    let refused = try_init(&subject)?;
    let result = match &refused {
        None => Ok(String::new()),
        Some(refused) => Err(refused.text.clone()),
    };
    report.result(&rules::INIT, result)?;

    let given = |config| Subject {
        given: Given {
            config,
            ..subject.given
        },
        ..subject
    };
    let result = match try_init(&given(None))? {
        None => Ok("it goes on".to_owned()),
        Some(refused) => refused.politely(""),
    };
    report.result(&rules::INIT_ALONE, result)?;

    let mut result = Ok(String::new());
    let garbage = garbage();
    for (name, bytes) in &garbage {
        if let Some(refused) = try_init(&given(Some(bytes)))? {
            result = refused.politely(&format!("with {name}: "));
        }
        if result.is_err() {
            break;
        }
    }
    report.result(&rules::INIT_GARBAGE, result)?;
    Ok(refused.is_none())
}

fn garbage() -> [(&'static str, Vec<u8>); 4] {
    [
        ("an empty configuration", Vec::new()),
        ("1,000 random bytes", pattern(7, 1000)),
        ("an open bracket", b"{\"".to_vec()),
        ("a line of 1 MiB", vec![b'x'; 1 << 20]),
    ]
}

/// Why init did not succeed.
struct InitFailure {
    text: String,
    /// Whether it returned an error number.
    is_polite: bool,
}

impl InitFailure {
    fn politely(self, with: &str) -> Result<String, String> {
        let text = format!("{with}{}", self.text);
        if self.is_polite { Ok(text) } else { Err(text) }
    }
}

/// Runs a module up to its init. `None` if init succeeds.
fn try_init(subject: &Subject<'_>) -> Result<Option<InitFailure>, Failure> {
    let probe = Arc::new(Probe::new(Manner::Usual));
    Ok(match subject.prepare(&probe)? {
        Some(returned) if returned.export == names::INIT && returned.value() == Some(0) => None,
        Some(returned) => Some(InitFailure {
            text: ended(&returned),
            is_polite: returned.value().is_some(),
        }),
        None => Some(InitFailure {
            text: format!("{} was not reached or did not return", names::INIT),
            is_polite: false,
        }),
    })
}

/// What the set-up of a connection has shown.
pub(super) enum SetUp<'a> {
    /// Connections can be set up, with this partner.
    Works(Subject<'a>),
    Fails,
}

/// Checks that a connection can be set up. If that fails with a module as the partner, a plain
/// socket is tried: many modules export roles that they do not support.
pub(super) fn role<'a>(
    subject: &Subject<'a>,
    has_own_peer: bool,
    report: &mut Report,
) -> Result<SetUp<'a>, Failure> {
    let socket = subject.with_socket();
    let may_try_socket = subject.has_module_as_partner() && !has_own_peer;
    let partners = [Some(*subject), may_try_socket.then_some(socket)];
    let export = subject.role.export();
    let mut why = String::new();
    for subject in partners.into_iter().flatten() {
        let probe = Arc::new(Probe::new(Manner::Usual));
        let text = match subject.open_with(&probe, |_| {}) {
            Ok(line) => {
                if let Err(text) = line.close() {
                    log::debug!("the first connection did not end well: {text}");
                }
                if !why.is_empty() {
                    why.insert_str(0, "with a plain socket as its peer, not with itself: ");
                }
                report.passed(&rules::ROLE, why)?;
                return Ok(SetUp::Works(subject));
            }
            Err(refusal) => refusal.into_text()?.0,
        };
        let value = probe
            .record()
            .returned(export)
            .and_then(ExportReturn::value);
        if let Some(value) = value.filter(|value| UNSUPPORTED.contains(value)) {
            let seen = format!("{export} returned {value}");
            report.broken(&rules::UNSUPPORTED, seen)?;
            return Ok(SetUp::Fails);
        }
        if why.is_empty() {
            why = text;
        }
    }
    report.broken(&rules::ROLE, why)?;
    Ok(SetUp::Fails)
}

/// Checks what the module makes of a remote that refuses the connection.
pub(super) fn refused_dial(subject: &Subject<'_>, report: &mut Report) -> Result<(), Failure> {
    if subject.role == Role::Listener {
        return Ok(());
    }
    let result = match subject.dial_refused()? {
        None => Err(format!("{} succeeded all the same", subject.role.export())),
        Some(refusal) => match refusal.into_text()? {
            (text, true) => Err(text),
            (text, false) => Ok(text),
        },
    };
    report.result(&rules::REFUSED_DIAL, result)
}

/// Checks what the module makes of a peer that closes at once, and of one that sends garbage.
pub(super) fn strange_peers(subject: &Subject<'_>, report: &mut Report) -> Result<(), Failure> {
    let socket = subject.with_socket();
    // A module that has ended already takes nothing any more.
    let result = meet(&socket, |far| {
        let _ = far.end_writing();
    })?;
    report.result(&rules::CLOSING_PEER, result)?;
    let result = meet(&socket, |far| {
        let _ = flow::send(far, &pattern(99, GARBAGE), GARBAGE);
        let _ = far.end_writing();
    })?;
    report.result(&rules::GARBAGE_PEER, result)
}

/// Checks whether the transport ends when it is told to, before its peer has sent anything. A
/// module that waits for its peer in the role's function has no control pipe yet: nothing is asked
/// of it, and the host ends it.
pub(super) fn silent_peer(subject: &Subject<'_>, report: &mut Report) -> Result<(), Failure> {
    let rule = &rules::SILENT_PEER;
    let patience = subject.given.args.handshake_timeout.min(STALL);
    let args = TransportArgs {
        handshake_timeout: patience,
        ..subject.given.args.clone()
    };
    let given = Given {
        args: &args,
        ..subject.given
    };
    let subject = Subject { given, ..*subject }.with_socket();
    for bytes in [&[][..], &pattern(98, 100)] {
        let probe = Arc::new(Probe::new(Manner::Usual));
        let line = match subject.open_with(&probe, |_| {}) {
            Ok(line) => line,
            Err(refusal) => {
                let (text, is_rude) = refusal.into_text()?;
                let is_stopped = probe.was_stopped(patience);
                let export = subject.role.export();
                return report.result(
                    rule,
                    match (is_stopped, is_rude) {
                        (true, _) => Ok(format!("{export} waits for the peer: the host ends it")),
                        (false, true) => Err(text),
                        (false, false) => Ok(text),
                    },
                );
            }
        };
        // A module that has ended already takes nothing any more.
        let _ = flow::send(&line.near, bytes, bytes.len().max(1));
        if let Err(text) = line.close() {
            let sent = count(bytes.len() as u64);
            let text = format!("after {sent} from the application and none from the peer: {text}");
            return report.broken(rule, text);
        }
    }
    report.passed(rule, "")
}

/// Sets a connection up with a peer that does this, and waits for its end.
fn meet(
    subject: &Subject<'_>,
    peer: impl FnOnce(&Side) + Send,
) -> Result<Result<String, String>, Failure> {
    match subject.open_with(&Arc::new(Probe::new(Manner::Usual)), peer) {
        Ok(line) => {
            let has_ended = flow::drain(&line.near, STALL);
            let failure = line.failure();
            Ok(match line.close() {
                Err(text) => Err(text),
                Ok(()) if !has_ended => Err(format!(
                    "the transport went on for {STALL:?} after its peer had closed"
                )),
                Ok(()) => Ok(failure.unwrap_or_default()),
            })
        }
        Err(refusal) => Ok(match refusal.into_text()? {
            (text, true) => Err(text),
            (text, false) => Ok(text),
        }),
    }
}
