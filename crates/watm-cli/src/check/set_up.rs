//! Checks what comes before there is data: init, the role's function, and peers that do not speak
//! the module's protocol.

use std::sync::Arc;

use watm_abi::{Role, names};
use watm_wasmer::ExportReturn;

use super::data;
use super::flow::{self, STALL, pattern};
use super::line::{Greeting, Greetings, Line, Subject};
use super::partner::{Given, Partner};
use super::probe::{Manner, Probe};
use super::refusal::ended;
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

/// How a connection fared with certain partners.
enum Attempt {
    /// It was set up, and bytes pass. With a choice, this says which connection is used.
    Works(Option<String>),
    /// It was set up.
    IsSetUp(Option<String>),
    /// The module does not have the role: its function returned this.
    Unsupported(i32),
    Refused(String),
}

/// Checks that a connection can be set up with one of these partners, the first of which are the
/// most likely. Many modules export roles that they do not support. Returns the partners to use.
pub(super) fn role<'a>(
    subjects: &[Subject<'a>],
    report: &mut Report,
) -> Result<Option<Subject<'a>>, Failure> {
    let mut why: Option<String> = None;
    let mut set_up = None;
    // A relay says what it expects from its client by waiting for it.
    let is_hasty = subjects.iter().any(|subject| subject.client.is_module());
    let attempts = subjects.iter().map(|subject| (subject, is_hasty));
    let again = subjects.iter().take(usize::from(is_hasty));
    for (subject, is_hasty) in attempts.chain(again.map(|subject| (subject, false))) {
        if set_up.is_some() && !is_hasty {
            break;
        }
        match attempt(subject, is_hasty)? {
            Attempt::Works(choice) => return works(subject, choice, why, report),
            Attempt::IsSetUp(choice) if !is_hasty => return works(subject, choice, why, report),
            Attempt::IsSetUp(choice) => {
                set_up.get_or_insert((subject, choice, why.clone()));
            }
            Attempt::Unsupported(value) => {
                let seen = format!("{} returned {value}", subject.role.export());
                report.broken(&rules::UNSUPPORTED, seen)?;
                return Ok(None);
            }
            Attempt::Refused(text) => {
                why.get_or_insert(text);
            }
        }
    }
    if let Some((subject, choice, why)) = set_up {
        return works(subject, choice, why, report);
    }
    report.broken(&rules::ROLE, why.unwrap_or_default())?;
    Ok(None)
}

/// Reports that connections can be set up with these partners, and why not with others.
fn works<'a>(
    subject: &Subject<'a>,
    choice: Option<String>,
    why_not_others: Option<String>,
    report: &mut Report,
) -> Result<Option<Subject<'a>>, Failure> {
    let mut seen = choice.unwrap_or_default();
    if let Some(why) = why_not_others {
        let partners = match (subject.client.is_module(), subject.partner.is_module()) {
            (false, _) => "with a plain socket as its peer, not with itself",
            (true, true) => "with dialers as its clients, not with plain sockets",
            (true, false) => {
                "with dialers as its clients and a plain socket as its peer, not with others"
            }
        };
        let separator = if seen.is_empty() { "" } else { "; " };
        seen.push_str(&format!("{separator}{partners}: {why}"));
    }
    report.passed(&rules::ROLE, seen)?;
    Ok(Some(*subject))
}

/// Sets a connection up. With haste, it may take [`STALL`] at most, and bytes must pass.
fn attempt(subject: &Subject<'_>, is_hasty: bool) -> Result<Attempt, Failure> {
    let mut args = subject.given.args.clone();
    if is_hasty {
        args.setup_timeout = args.setup_timeout.min(STALL);
    }
    let given = Given {
        args: &args,
        ..subject.given
    };
    let subject = Subject { given, ..*subject };
    let probe = Arc::new(Probe::new(Manner::Usual));
    let text = match subject.open_with(&probe, Greetings::default()) {
        Ok(line) => {
            let choice = line.choice();
            let passes = is_hasty && data::passes(&line);
            if let Err(text) = line.close() {
                log::debug!("the first connection did not end well: {text}");
            }
            return Ok(if passes {
                Attempt::Works(choice)
            } else {
                Attempt::IsSetUp(choice)
            });
        }
        Err(refusal) => refusal.into_text()?.0,
    };
    let record = probe.record();
    let returned = record.returned(subject.role.export());
    let value = returned.and_then(ExportReturn::value);
    Ok(match value.filter(|value| UNSUPPORTED.contains(value)) {
        Some(value) => Attempt::Unsupported(value),
        None => Attempt::Refused(text),
    })
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
    // A module that has ended already takes nothing any more.
    let closes = |side: &Side| {
        let _ = side.end_writing();
    };
    report.result(&rules::CLOSING_PEER, meet(subject, &closes)?)?;
    let sends_garbage = |side: &Side| {
        let _ = flow::send(side, &pattern(99, GARBAGE), GARBAGE);
        let _ = side.end_writing();
    };
    report.result(&rules::GARBAGE_PEER, meet(subject, &sends_garbage)?)
}

/// Sets connections up with strangers that do this, and waits for their ends.
fn meet(subject: &Subject<'_>, greeting: &Greeting) -> Result<Result<String, String>, Failure> {
    let far = Greetings {
        far: Some(greeting),
        client: None,
    };
    let result = meet_with(&subject.with_socket(), far, |line| {
        flow::drain(&line.near, STALL)
    })?;
    // A relay that expects a handshake of its clients has strangers on both sides.
    if result.is_err() || !subject.client.is_module() {
        return Ok(result);
    }
    let client = Greetings {
        client: Some(greeting),
        far: None,
    };
    let subject = Subject {
        client: Partner::Socket,
        ..*subject
    };
    let of_client = meet_with(&subject, client, |_| true)?;
    Ok(of_client.map_err(|text| format!("with such a client: {text}")))
}

/// Sets a connection up, waits for its end as `has_ended` does, and closes it.
fn meet_with(
    subject: &Subject<'_>,
    greetings: Greetings<'_>,
    has_ended: impl FnOnce(&Line) -> bool,
) -> Result<Result<String, String>, Failure> {
    match subject.open_with(&Arc::new(Probe::new(Manner::Usual)), greetings) {
        Ok(line) => {
            let has_ended = has_ended(&line);
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

/// Checks whether the transport ends when it is told to, before its peer has sent anything. A
/// module that waits for its peer in the role's function has no control pipe yet: nothing is asked
/// of it, and the host ends it.
pub(super) fn silent_peer(subject: &Subject<'_>, report: &mut Report) -> Result<(), Failure> {
    let rule = &rules::SILENT_PEER;
    let patience = subject.given.args.setup_timeout.min(STALL);
    let args = TransportArgs {
        setup_timeout: patience,
        ..subject.given.args.clone()
    };
    let given = Given {
        args: &args,
        ..subject.given
    };
    let subject = Subject { given, ..*subject }.with_socket();
    for bytes in [&[][..], &pattern(98, 100)] {
        let probe = Arc::new(Probe::new(Manner::Usual));
        let line = match subject.open_with(&probe, Greetings::default()) {
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
