//! What a command that serves shows of itself over HTTP: metrics, health and readiness.
//!
//! Knows servers and their numbers. Must never know how a server came to be, nor change one.

mod http;
mod process;
mod recorder;
mod registry;

use std::sync::Arc;
use std::thread;

use metrics_exporter_prometheus::PrometheusHandle;
use watm_wasmer::{Builder, ListenAddress, Metrics, Role, ServerHandle};

pub(crate) use self::registry::{Registry, Served, Summary};
use crate::args::MetricsArgs;
use crate::inspect::role_name;
use crate::terminal::failure::Failure;

/// A monitor that counts, and whose address is not bound yet.
pub(crate) struct Monitor {
    address: ListenAddress,
    rendered: PrometheusHandle,
}

/// A monitor that is bound.
pub(crate) struct BoundMonitor {
    listener: std::net::TcpListener,
    rendered: PrometheusHandle,
}

impl Monitor {
    /// Begins to count, if an address is given. Observers that are made before count for nobody.
    pub(crate) fn install(address: Option<&ListenAddress>) -> Result<Option<Self>, Failure> {
        let installed = address.map(|address| {
            Ok(Self {
                address: address.clone(),
                rendered: recorder::install()?,
            })
        });
        installed.transpose()
    }

    pub(crate) fn bind(&self) -> Result<BoundMonitor, Failure> {
        let listener = watm_wasmer::plain::bind(self.address.as_str())?;
        Ok(BoundMonitor {
            listener,
            rendered: self.rendered.clone(),
        })
    }
}

impl BoundMonitor {
    /// Answers until the process ends, on a thread of its own.
    pub(crate) fn start(self, registry: &Arc<Registry>) -> Result<(), Failure> {
        let failed = |error| Failure::because("cannot serve metrics", error);
        if let Ok(address) = self.listener.local_addr() {
            log::info!("metrics at http://{address}/metrics");
        }
        let site = Site {
            rendered: self.rendered,
            registry: Arc::clone(registry),
        };
        let mut server = http::HttpServer::new(self.listener).map_err(failed)?;
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
}

impl http::Pages for Site {
    fn page(&self, path: &str) -> Option<http::Page> {
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
            "/" => Some(http::Page::text(
                http::Status::Ok,
                "/metrics\n/healthz\n/readyz\n",
            )),
            _ => None,
        }
    }

    /// Histograms keep each value until somebody looks at them.
    fn tick(&self) {
        self.rendered.run_upkeep();
    }
}
