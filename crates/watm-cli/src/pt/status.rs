//! How the connections of a transport fare, as lines `STATUS` for tor and its controllers.

use watm_wasmer::{ConnectionInfo, Event, Observer};

use super::lines::say;

/// Tells of the connections of one transport.
pub(super) struct Status {
    pub(super) transport: String,
}

impl Observer for Status {
    fn observe(&self, _: &ConnectionInfo, event: &Event<'_>) {
        let transport = &self.transport;
        match event {
            Event::Established { .. } => {
                say(format_args!("STATUS TRANSPORT={transport} CONNECT=Success"));
            }
            Event::Failed { code, .. } => {
                say(format_args!(
                    "STATUS TRANSPORT={transport} CONNECT=Failed ERROR={code}"
                ));
            }
            _ => {}
        }
    }
}
