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
use watm_wasmer::{ListenAddress, Metrics};

pub(crate) use self::registry::{Registry, Served, Summary};
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

    pub(crate) fn bind(self) -> Result<BoundMonitor, Failure> {
        let listener = watm_wasmer::plain::bind(self.address.as_str())?;
        Ok(BoundMonitor {
            listener,
            rendered: self.rendered,
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
