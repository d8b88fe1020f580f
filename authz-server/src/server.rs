//! Starting and serving.

use std::io::Write;
use std::sync::Arc;

use ::web::frame::Frame;
use ::web::rates;
use ::web::redirect::Redirect;
use ::web::server::{Listen, asked_to_stop};
use shared::clock::{self, UnixSeconds};
use shared::tls::{TlsFault, TlsMode};
use shared::trace::{self, TraceFault};

use crate::account::link;
use crate::account::users::UserFault;
use crate::app::{App, AppFault};
use crate::cleanup;
use crate::client::usage;
use crate::config::Config;
use crate::db::{self, Db, OpenFault};
use crate::reload::Source;
use crate::{admin, alerts, counts, keys, latency, reload, routes, status_list, tally, token};

/// The server could not start, or stopped with a fault. Each sentence says what to do.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ServeFault {
    #[error(transparent)]
    Open(#[from] OpenFault),
    #[error(transparent)]
    App(#[from] AppFault),
    #[error(transparent)]
    Tls(#[from] TlsFault),
    #[error(transparent)]
    Traces(#[from] TraceFault),
    #[error(transparent)]
    FirstAdmin(#[from] UserFault),
    #[error("{0}")]
    Listen(#[from] std::io::Error),
    #[error(
        "the client {0} is approved without a person, which is for tests: authz-server client revoke {0}, or set login.testing_door"
    )]
    TestingDoor(String),
}

/// Serves until the process is asked to stop.
pub(crate) async fn serve(config: Config, source: Source) -> Result<(), ServeFault> {
    let hang_ups = reload::hang_ups();
    let now = clock::now();
    let traces = config.traces.as_ref();
    let collector = traces
        .map(|traces| trace::start(traces, "authz-server"))
        .transpose()?;
    let db = Db::open(&config.database_url, &config.issuer, now).await?;
    check_testing_door(&config, &db).await?;
    let app = Box::pin(App::new(config, db, now)).await?;
    // Into memory, so that metadata can be served from there should the database go away.
    app.resources().await.map_err(OpenFault::Db)?;
    if let Err(failure) = token::warn_of_unknown(&app).await {
        tracing::warn!(reason = %failure, "what the configuration names could not be looked up");
    }
    offer_first_admin(&app, now).await?;
    let config = &app.config;
    let tls = config.tls.prepare()?;
    if let Some(ca) = tls.as_ref().and_then(|tls| tls.local_ca.as_ref()) {
        tracing::info!(ca = %ca.display(), "TLS is self-signed: let clients trust this certificate authority");
    }
    let reloading = reload::run(Arc::clone(&app), hang_ups, source, tls.clone());
    let listen = Listen {
        addresses: [&config.listen[..], &config.admin.listen].concat(),
        asking_addresses: config.mutual_tls.listen.clone(),
        metrics_address: config.metrics_listen,
        tls,
        redirect: Redirect {
            addresses: config.redirect_listen.clone(),
            bases: [
                Some(&config.issuer),
                config.mutual_tls.url.as_ref(),
                config.admin.url.as_ref(),
            ]
            .into_iter()
            .flatten()
            .map(|base| base.url().clone())
            .collect(),
        },
        per_address: app.per_ip.clone(),
        cancel_on_disconnect: false,
    };
    let frame = Frame {
        hosts: config.hosts.clone(),
        trusted_proxies: config.trusted_proxies.clone(),
        client_certificate_header: config.mutual_tls.from_header,
        strict_transport: config.tls != TlsMode::Off || config.issuer.url().scheme() == "https",
        encoded_below: &[],
        not_found: admin::nothing_at,
        metrics: Arc::clone(&app.metrics),
        local_metrics: config.metrics_listen.is_none(),
    };
    let limited = Arc::clone(&app);
    tokio::spawn(rates::forget_the_idle(app.per_ip.clone(), move || {
        limited.limits()
    }));
    tokio::spawn(cleanup::run(Arc::clone(&app)));
    app.metrics.collect(counts::Watch::of(&app));
    tokio::spawn(counts::run(Arc::clone(&app)));
    tokio::spawn(latency::run(Arc::clone(&app)));
    tokio::spawn(status_list::follow(Arc::clone(&app)));
    let status_lists = Arc::clone(&app.status_lists);
    tokio::spawn(async move {
        // Nobody who waits for news holds up the stop.
        asked_to_stop().await;
        status_lists.stop();
    });
    if !config.admin.is_served() {
        tracing::info!("the admin API is not served: name an address for it in admin.listen");
    }
    let shared_app = actix_web::web::Data::from(Arc::clone(&app));
    let probed_app = shared_app.clone();
    let serving = web::server::run(
        listen,
        frame,
        move |config| routes::routes(&shared_app, config),
        move |config| routes::probes(&probed_app, config),
        |addresses| {
            let addresses: Vec<_> = addresses.iter().map(ToString::to_string).collect();
            tracing::info!(issuer = %app.config.issuer, addresses = addresses.join(", "), "serving");
        },
    );
    // In this task, as their transactions stay in one.
    let beside = async {
        tokio::join!(
            keys::life::run(Arc::clone(&app)),
            tally::run(Arc::clone(&app)),
            alerts::run(Arc::clone(&app)),
            reloading
        );
        std::future::pending::<()>().await;
    };
    tokio::select! {
        ended = serving => ended?,
        () = beside => {}
    }
    // What was noted since the last clean-up would be lost.
    if let Err(fault) = usage::write(&app, clock::now()).await {
        tracing::warn!(reason = %fault, "the day of the clients' last use could not be written");
    }
    if let Some(collector) = collector {
        collector.end().await;
    }
    Ok(())
}

/// Prints the link that makes the first administrator, for as long as there is none. It goes to standard output and
/// not to the log: a log is kept and passed on, and holds no secret.
async fn offer_first_admin(app: &App, now: UnixSeconds) -> Result<(), ServeFault> {
    if !app.config.login.passwords {
        return Ok(());
    }
    if let Some(link) = link::for_first_admin(&app.db, &app.config.issuer, now).await? {
        let line = format!("First administrator: open {} (once, within 1 h)\n", link.url);
        std::io::stdout().write_all(line.as_bytes())?;
    }
    Ok(())
}

/// What was made for tests must not be left behind when tests are over.
async fn check_testing_door(config: &Config, db: &Db) -> Result<(), ServeFault> {
    if config.login.testing_door {
        tracing::warn!("the testing door is open: clients may be approved without a person");
        return Ok(());
    }
    match db::client::approved_always(db).await.map_err(OpenFault::Db)? {
        Some(client_id) => Err(ServeFault::TestingDoor(client_id)),
        None => Ok(()),
    }
}
