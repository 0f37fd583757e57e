//! What a command that serves shows of itself over HTTP: metrics, health and readiness.
//!
//! Knows servers and their numbers. Must never know how a server came to be, nor change one.

mod http;
mod process;
mod recorder;
mod registry;
pub(crate) mod report;

use std::sync::Arc;
use std::thread;
use std::time::Instant;

use metrics_exporter_prometheus::PrometheusHandle;
use serde::Serialize;
use watm_wasmer::{Builder, ListenAddress, ListenSocket, Metrics, Role, ServerHandle};

pub(crate) use self::registry::{Registry, Served, Summary};
use crate::args::MetricsArgs;
use crate::inspect::role_name;
use crate::terminal::escape::Json;
use crate::terminal::failure::Failure;

/// A monitor that counts, and whose address is not bound yet.
pub(crate) struct Monitor {
    address: ListenAddress,
    rendered: PrometheusHandle,
    began: Instant,
}

/// A monitor that is bound.
pub(crate) struct BoundMonitor {
    sockets: Vec<ListenSocket>,
    rendered: PrometheusHandle,
    began: Instant,
}

impl Monitor {
    /// Begins to count, if an address is given. Observers that are made before count for nobody.
    pub(crate) fn install(address: Option<&ListenAddress>) -> Result<Option<Self>, Failure> {
        let installed = address.map(|address| {
            Ok(Self {
                address: address.clone(),
                rendered: recorder::install()?,
                began: Instant::now(),
            })
        });
        installed.transpose()
    }

    pub(crate) fn bind(&self) -> Result<BoundMonitor, Failure> {
        Ok(BoundMonitor {
            sockets: ListenSocket::open(&self.address)?,
            rendered: self.rendered.clone(),
            began: self.began,
        })
    }
}

impl BoundMonitor {
    /// Answers until the process ends, on a thread of its own.
    pub(crate) fn start(self, registry: &Arc<Registry>) -> Result<(), Failure> {
        let failed = |error| Failure::because("cannot serve metrics", error);
        for socket in &self.sockets {
            match socket.local_addr() {
                Some(address) => log::info!("metrics at http://{address}/metrics"),
                None => log::info!("metrics at {socket}, page /metrics"),
            }
        }
        let site = Site {
            rendered: self.rendered,
            registry: Arc::clone(registry),
            began: self.began,
        };
        let mut server = http::HttpServer::new(&self.sockets).map_err(failed)?;
        thread::Builder::new()
            .name("watm-metrics".into())
            .stack_size(512 * 1024)
            .spawn(move || server.run(&site))
            .map_err(failed)?;
        Ok(())
    }
}

/// Counts the connections of a tunnel, if there is a monitor.
pub(crate) fn observer(tunnel: &str) -> Metrics {
    Metrics::new().label("tunnel", tunnel)
}

/// The monitor of a command that runs one server, if it is to have one.
pub(crate) struct Single<M> {
    tunnel: String,
    role: Role,
    monitor: Option<M>,
}

impl Single<Monitor> {
    /// Begins to count the connections of a server. `tunnel` is what the file calls it.
    pub(crate) fn install(
        args: &MetricsArgs,
        tunnel: Option<&str>,
        role: Role,
    ) -> Result<Self, Failure> {
        Ok(Self {
            tunnel: tunnel.unwrap_or(role_name(role)).to_owned(),
            role,
            monitor: Monitor::install(args.metrics.as_ref())?,
        })
    }

    /// The same for a command that may run none, and then must not have a monitor.
    pub(crate) fn of_server(
        args: &MetricsArgs,
        tunnel: Option<&str>,
        role: Role,
        serves: bool,
    ) -> Result<Self, Failure> {
        if !serves && args.metrics.is_some() {
            let option = match role {
                Role::Listener => "--forward",
                _ => "--listen",
            };
            let message = "--metrics is for a command that serves, and this one would carry a \
                single connection on standard input and output";
            let failure = Failure::new(message).hint(format!("add {option}"));
            return Err(failure.with_exit_code(2));
        }
        Self::install(args, tunnel, role)
    }

    /// Counts the connections that are made with a builder.
    pub(crate) fn observe<R>(&self, builder: Builder<R>) -> Builder<R> {
        match &self.monitor {
            Some(_) => builder.observer(observer(&self.tunnel)),
            None => builder,
        }
    }

    pub(crate) fn bind(&self) -> Result<Single<BoundMonitor>, Failure> {
        Ok(Single {
            tunnel: self.tunnel.clone(),
            role: self.role,
            monitor: self.monitor.as_ref().map(Monitor::bind).transpose()?,
        })
    }
}

impl Single<BoundMonitor> {
    /// Answers until the process ends.
    pub(crate) fn start(self, server: &Arc<ServerHandle>) -> Result<Arc<Registry>, Failure> {
        let registry = Registry::new();
        registry.add(Served {
            tunnel: self.tunnel,
            role: self.role,
            server: Arc::clone(server),
        });
        registry.loaded(false);
        registry.set_unready(None);
        if let Some(monitor) = self.monitor {
            monitor.start(&registry)?;
        }
        Ok(registry)
    }
}

/// The pages.
struct Site {
    rendered: PrometheusHandle,
    registry: Arc<Registry>,
    began: Instant,
}

impl Site {
    /// The process and its tunnels.
    fn overview(&self) -> report::Overview {
        report::Overview {
            watm: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            uptime_seconds: self.began.elapsed().as_secs_f64(),
            unready: self.registry.unready().map(str::to_owned),
            process: process::Numbers::now().report(),
            tunnels: self.registry.report(),
        }
    }
}

impl http::Pages for Site {
    fn page(&self, path: &str, reader: http::Reader) -> Option<http::Page> {
        match path {
            "/metrics" => {
                recorder::take_over(&self.registry.tunnels(), self.registry.reloads());
                Some(http::Page {
                    status: http::Status::Ok,
                    content_type: "text/plain; version=0.0.4; charset=utf-8",
                    body: self.rendered.render(),
                })
            }
            "/healthz" => Some(http::Page::text(http::Status::Ok, "ok\n")),
            "/readyz" => Some(match self.registry.unready() {
                None => http::Page::text(http::Status::Ok, "ready\n"),
                Some(reason) => http::Page::text(http::Status::Unavailable, &format!("{reason}\n")),
            }),
            "/tunnels" => Some(json(&self.overview())),
            "/connections" if reader == http::Reader::Anybody => Some(http::Page::text(
                http::Status::Forbidden,
                "connections are shown over a Unix socket only, since the addresses of clients are \
                 nobody's business: --metrics unix:/PATH\n",
            )),
            "/connections" => Some(json(&self.registry.connections())),
            "/" => Some(http::Page::text(
                http::Status::Ok,
                "/metrics\n/healthz\n/readyz\n/tunnels\n/connections\n",
            )),
            _ => None,
        }
    }

    /// Histograms keep each value until somebody looks at them.
    fn tick(&self) {
        self.rendered.run_upkeep();
    }
}

/// A page of JSON, in which nothing drives a terminal.
fn json(value: &impl Serialize) -> http::Page {
    let mut body = Vec::new();
    // Plain data can always be written to memory.
    let _ = serde_json::to_writer(Json(&mut body), value);
    body.push(b'\n');
    http::Page {
        status: http::Status::Ok,
        content_type: "application/json",
        body: String::from_utf8(body).unwrap_or_default(),
    }
}
