//! A tunnel that is loaded: the module is compiled and all settings are read, but nothing is bound.
//! The second step of each start and each reload; the fourth makes a server of it.

use std::sync::Arc;

use watm_wasmer::{Binds, Builder, ListenSocket, Relay, Role, Server, ServerHandle};

use super::plan::Plan;
use super::sockets::Socket;
use crate::monitor;
use crate::terminal::failure::Failure;

/// How many instances are kept ready unless the file says: the default of the other commands.
const SPARE_INSTANCES: usize = 4;

pub(super) struct Made {
    pub(super) plan: Plan,
    /// What the files held just before they were read. If one changes meanwhile, the next reload
    /// finds that out.
    pub(super) contents: [u8; 32],
    builder: Kind,
}

enum Kind {
    Server(Builder<Server>),
    Relay(Builder<Relay>),
}

/// A server that is bound, and accepts nothing yet.
pub(super) enum Ready {
    Server(Server),
    Relay(Relay),
}

impl Made {
    /// Loads the module of a tunnel, and all that the tunnel names.
    pub(super) fn load(plan: Plan) -> Result<Box<Self>, Failure> {
        let (contents, builder) =
            load(&plan).map_err(|failure| failure.within(format!("tunnel `{}`", plan.name)))?;
        Ok(Box::new(Self {
            plan,
            contents,
            builder,
        }))
    }

    /// Makes a server on these sockets. One instance of the module is tried out.
    pub(super) fn ready(&self, sockets: &[Socket]) -> Result<Box<Ready>, Failure> {
        let made = || {
            let sockets = sockets.iter().map(Socket::for_server);
            let sockets = sockets
                .collect::<Result<Vec<_>, _>>()?
                .into_iter()
                .flatten();
            let sockets: Vec<ListenSocket> = sockets.collect();
            let ready = match &self.builder {
                Kind::Server(builder) => Ready::Server(bound(builder, sockets)?),
                Kind::Relay(builder) => Ready::Relay(bound(builder, sockets)?),
            };
            match &ready {
                Ready::Server(server) => server.try_instance()?,
                Ready::Relay(relay) => relay.try_instance()?,
            }
            Ok::<_, Failure>(Box::new(ready))
        };
        made().map_err(|failure| failure.within(format!("tunnel `{}`", self.plan.name)))
    }

    /// Has a server of the same role make its next connections in this way.
    pub(super) fn replace_in(self, server: &ServerHandle) -> Result<(), Failure> {
        match self.builder {
            Kind::Server(builder) => server.replace(builder)?,
            Kind::Relay(builder) => server.replace(builder)?,
        }
        Ok(())
    }
}

impl Ready {
    pub(super) fn start(self) -> Result<Arc<ServerHandle>, Failure> {
        let started = match self {
            Self::Server(server) => server.spawn(),
            Self::Relay(relay) => relay.spawn(),
        };
        Ok(Arc::new(started?))
    }
}

fn bound<R: Binds>(builder: &Builder<R>, sockets: Vec<ListenSocket>) -> Result<R, Failure> {
    Ok(builder.clone().listen_all(sockets)?)
}

fn load(plan: &Plan) -> Result<([u8; 32], Kind), Failure> {
    let contents = plan.tunnel.contents()?;
    let builder = match plan.role {
        Role::Relay => Kind::Relay(completed(plan.tunnel.relay()?, plan)),
        Role::Dialer | Role::FixedDialer | Role::Listener => {
            Kind::Server(completed(plan.tunnel.server()?, plan))
        }
    };
    log::debug!("loaded the tunnel {}", plan.name);
    Ok((contents, builder))
}

/// Adds what is the command's.
fn completed<R>(builder: Builder<R>, plan: &Plan) -> Builder<R> {
    let builder = builder.observer(monitor::observer(&plan.name));
    if plan.tunnel.sets("spare_instances") {
        builder
    } else {
        builder.spare_instances(SPARE_INSTANCES)
    }
}
