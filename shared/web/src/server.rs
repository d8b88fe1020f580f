//! Listening, serving, stopping.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;

use actix_web::dev::HttpServiceFactory;
use actix_web::middleware::from_fn;
use actix_web::{App, HttpServer, web};
use shared::tls::ServerTls;

use crate::certificate::Shown;
use crate::frame::{Frame, stand};
use crate::metrics::Metrics;
use crate::rates::AddressLimit;
use crate::redirect::{self, Redirect};
use crate::{answer, certificate, client_certificate};

/// How long requests in flight may take once we were asked to stop.
const SHUTDOWN_SECONDS: u64 = 10;

/// Where and how to listen.
#[derive(Clone)]
pub struct Listen {
    /// Every address to listen on.
    pub addresses: Vec<SocketAddr>,
    /// Addresses on which clients are asked for a certificate, and may have none. They need `tls`.
    pub asking_addresses: Vec<SocketAddr>,
    /// A separate address for `/metrics`, if the operator wants one.
    pub metrics_address: Option<SocketAddr>,
    /// TLS for `addresses`, or plain HTTP.
    pub tls: Option<ServerTls>,
    /// Plain HTTP that leads to https. It needs `tls`.
    pub redirect: Redirect,
    /// The limit by caller's address.
    pub per_address: AddressLimit,
    /// Whether a request ends as soon as its caller closes the connection, or even the sending half of it. Otherwise
    /// that is noticed only when something is written.
    pub cancel_on_disconnect: bool,
}

impl Listen {
    /// Whether plain HTTP would leave this machine: then TLS must be configured.
    pub fn leaves_machine(addresses: &[SocketAddr]) -> bool {
        addresses.iter().any(|address| !address.ip().is_loopback())
    }
}

/// Serves `configure`'s routes until SIGTERM or SIGINT, then finishes the requests in flight. `ready` is called with
/// the addresses once they are bound. `probes` adds `/healthz` and `/readyz`, which no rate limit and no check of
/// `Host` touches.
pub async fn run(
    listen: Listen,
    frame: Frame,
    configure: impl Fn(&mut web::ServiceConfig) + Clone + Send + 'static,
    probes: impl Fn(&mut web::ServiceConfig) + Clone + Send + 'static,
    ready: impl FnOnce(&[SocketAddr]),
) -> io::Result<()> {
    log_panics();
    let metrics = Arc::clone(&frame.metrics);
    let (frame, limit) = (web::Data::new(frame), listen.per_address.clone());
    let served_metrics = Arc::clone(&metrics);
    let (served_probes, shown) = (probes.clone(), listen.tls.clone());
    let server = HttpServer::new(move || {
        let metrics = Arc::clone(&served_metrics);
        let app = App::new()
            .app_data(frame.clone())
            .app_data(Shown(shown.clone()))
            .wrap(from_fn(stand))
            .configure(served_probes.clone())
            .service(metrics_document(metrics))
            .default_service(web::to(answer::not_found));
        let routes = web::scope("")
            .configure(configure.clone())
            .default_service(web::to(answer::not_found));
        #[cfg(debug_assertions)]
        let routes = routes.configure(panic_on_request);
        app.service(routes.wrap(limit.clone()))
    })
    .on_connect(client_certificate::keep)
    .disable_signals()
    .h1_allow_half_closed(!listen.cancel_on_disconnect)
    .shutdown_timeout(SHUTDOWN_SECONDS);

    let server = bindable(&listen.addresses)
        .iter()
        .try_fold(server, |server, address| {
            let bound = match &listen.tls {
                None => server.bind(address),
                Some(tls) => server.bind_rustls_0_23(address, (*tls.config).clone()),
            };
            bound.map_err(|e| cannot_listen(*address, e))
        })?;
    let server = bindable(&listen.asking_addresses)
        .iter()
        .try_fold(server, |server, address| {
            let tls = listen
                .tls
                .as_ref()
                .ok_or_else(|| io::Error::other("a certificate is asked for without TLS"));
            let bound = tls.and_then(|tls| server.bind_rustls_0_23(address, (*tls.asking).clone()));
            bound.map_err(|e| cannot_listen(*address, e))
        })?;
    let addresses = server.addrs();
    let server = server.run();
    let stop = server.handle();
    if let Some(tls) = &listen.tls {
        certificate::show(tls, &metrics);
        if !listen.redirect.addresses.is_empty() {
            tokio::spawn(redirecting(listen.redirect.clone(), tls.clone(), probes)?);
        }
    }
    if let Some(address) = listen.metrics_address {
        serve_metrics(address, metrics)?;
    }
    ready(&addresses);
    // An authority comes to the listeners, which are there by now.
    if let Some(orders) = listen.tls.as_ref().and_then(|tls| tls.orders.clone()) {
        tokio::spawn(orders.run());
    }
    tokio::spawn(async move {
        asked_to_stop().await;
        tracing::info!("stopping: finishing the requests in flight");
        stop.stop(true).await;
    });
    server.await
}

/// A way to see that a panic becomes an answer. In debug builds only, and only when the environment asks for it.
#[cfg(debug_assertions)]
fn panic_on_request(config: &mut web::ServiceConfig) {
    #[expect(clippy::panic, reason = "to be caught")]
    async fn panic() -> actix_web::HttpResponse {
        panic!("on request");
    }
    if let Some(path) = shared::config::environment().get("EDGE_HIVE_DEBUG_PANIC_PATH") {
        config.service(answer::document(path, panic));
    }
}

fn metrics_document(metrics: Arc<Metrics>) -> impl HttpServiceFactory + 'static {
    answer::document("/metrics", move || {
        let metrics = Arc::clone(&metrics);
        async move { metrics.answer() }
    })
}

/// A listener that knows only `/metrics`, for a network of the operators.
fn serve_metrics(address: SocketAddr, metrics: Arc<Metrics>) -> io::Result<()> {
    let server = HttpServer::new(move || App::new().service(metrics_document(Arc::clone(&metrics))));
    let server = server
        .workers(1)
        .disable_signals()
        .bind(address)
        .map_err(|e| cannot_listen(address, e))?;
    tokio::spawn(server.run());
    Ok(())
}

/// A listener that knows the probes, and leads everything else to https.
fn redirecting(
    redirect: Redirect,
    tls: ServerTls,
    probes: impl Fn(&mut web::ServiceConfig) + Clone + Send + 'static,
) -> io::Result<actix_web::dev::Server> {
    let addresses = bindable(&redirect.addresses);
    let server = HttpServer::new(move || {
        App::new()
            .app_data(Shown(Some(tls.clone())))
            .configure(probes.clone())
            .configure(|config| redirect::routes(&redirect, &tls, config))
    });
    let server = addresses.iter().try_fold(server, |server, address| {
        server.bind(address).map_err(|e| cannot_listen(*address, e))
    })?;
    Ok(server.workers(1).disable_signals().run())
}

/// A machine without IPv6, as many containers are, has no `[::1]`, which the default configuration names. It is left
/// out as long as something else remains.
fn bindable(addresses: &[SocketAddr]) -> Vec<SocketAddr> {
    let is_missing = |address: &SocketAddr| {
        address.is_ipv6() && address.ip().is_loopback() && TcpListener::bind((address.ip(), 0)).is_err()
    };
    let (missing, there): (Vec<_>, Vec<_>) = addresses.iter().copied().partition(is_missing);
    if there.is_empty() {
        return missing;
    }
    for address in missing {
        tracing::warn!(%address, "this machine does not have the address; it is left out");
    }
    there
}

fn cannot_listen(address: SocketAddr, error: io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("cannot listen on {address}: {error}"))
}

/// Resolves when the process gets SIGTERM or SIGINT.
pub async fn asked_to_stop() {
    use tokio::signal::unix::{SignalKind, signal};

    let (Ok(mut terminate), Ok(mut interrupt)) =
        (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
    else {
        tracing::error!("signals cannot be received; stop the process by force");
        return std::future::pending().await;
    };
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
}

/// A panic is logged with its place. Its message is left out: it could contain a value of the request.
fn log_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        tracing::error!(place, "a panic was caught; this is a bug");
    }));
}
