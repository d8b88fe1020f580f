//! The configuration and the certificate are read again, on SIGHUP or when an operator asks for it, and what can change
//! without a restart changes. A file with a fault changes nothing.
//!
//! One task does it, one time after the other: it goes on to its end whether or not whoever asked still waits, and two
//! who ask at once cannot leave a half of each in force.

use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use ::web::server::Listen;
use serde_json::{Map, Value, json};
use shared::clock::{self, UnixSeconds};
use shared::config::{ConfigFaults, Difference, differences};
use shared::tls::{Renewal, ServerTls};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{mpsc, oneshot};

use crate::admin::By;
use crate::app::App;
use crate::audit::{Event, Name, Target};
use crate::config::{Changeable, Config};
use crate::counts::RELOADS;
use crate::db::{DbFault, audit_event, client_document};
use crate::in_force::InForce;
use crate::token;

/// Files that are read with the certificate, whose renewal is told by itself.
const CERTIFICATE: [&str; 2] = ["tls.cert_file", "tls.key_file"];

/// Where the configuration comes from.
pub(crate) struct Source {
    pub(crate) file: Option<PathBuf>,
    pub(crate) flags: Vec<(&'static str, String)>,
}

impl Source {
    /// Reads all of it.
    pub(crate) fn read(&self) -> Result<Config, ConfigFaults> {
        Config::load(self.file.as_deref(), &self.flags)
    }
}

/// What was other than before.
#[derive(Clone, Debug)]
pub(crate) struct Reloaded {
    /// What counts from now on.
    pub(crate) changed: Vec<Difference>,
    /// What needs a restart.
    pub(crate) after_restart: Vec<Difference>,
    /// Whether another certificate is shown.
    pub(crate) has_certificate: bool,
}

impl Reloaded {
    /// Whether it is nothing, or what is `waiting` for a restart since an earlier one and was told then.
    fn is_nothing(&self, waiting: &[Difference]) -> bool {
        let is_told = self.after_restart.is_empty() || self.after_restart == waiting;
        self.changed.is_empty() && is_told && !self.has_certificate
    }
}

/// Why nothing was changed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NotReloaded {
    /// Every fault, one sentence each.
    #[error("{}", ConfigFaults(.0.clone()))]
    Faults(Vec<String>),
    /// A change that nobody can look up later is not made.
    #[error("it could not be written to the audit log: {0}")]
    Db(DbFault),
    #[error("another reload is under way, and one more waits; ask again")]
    Busy,
    #[error("the server is starting or stopping; ask again")]
    NotServing,
}

/// Where a reload is asked for.
#[derive(Default)]
pub(crate) struct Reloads(OnceLock<mpsc::Sender<Wanted>>);

/// A reload that somebody waits for.
struct Wanted {
    by: By,
    told: oneshot::Sender<Result<Reloaded, NotReloaded>>,
}

impl Reloads {
    /// Has the configuration read again, and waits for what comes of it.
    pub(crate) async fn ask(&self, by: By) -> Result<Reloaded, NotReloaded> {
        let (told, answer) = oneshot::channel();
        let task = self.0.get().ok_or(NotReloaded::NotServing)?;
        task.try_send(Wanted { by, told }).map_err(|fault| match fault {
            mpsc::error::TrySendError::Full(_) => NotReloaded::Busy,
            mpsc::error::TrySendError::Closed(_) => NotReloaded::NotServing,
        })?;
        answer.await.unwrap_or(Err(NotReloaded::NotServing))
    }
}

/// What SIGHUP is received with. Call it first: until then the signal ends the program, and whoever keeps programs running
/// takes that for an end that was wished for. What comes before [`run`] looks is not lost.
pub(crate) fn hang_ups() -> Option<Signal> {
    let hang_ups = signal(SignalKind::hangup());
    hang_ups
        .inspect_err(|_| {
            tracing::error!("SIGHUP cannot be received: changes wait for the admin API, or a restart");
        })
        .ok()
}

/// Reads the configuration again whenever the process gets SIGHUP or somebody asks for it, until the program ends.
pub(crate) async fn run(app: Arc<App>, mut hang_ups: Option<Signal>, source: Source, tls: Option<ServerTls>) {
    // One may wait while another is under way. Whoever is told nothing asks too often.
    let (sender, mut wanted) = mpsc::channel(1);
    if app.reloads.0.set(sender).is_err() {
        return;
    }
    let (source, mut waiting) = (Arc::new(source), Vec::new());
    loop {
        let (by, told) = tokio::select! {
            () = received(&mut hang_ups) => (By::operator(), None),
            Some(wanted) = wanted.recv() => (wanted.by, Some(wanted.told)),
        };
        let from = (&source, tls.as_ref());
        let done = Box::pin(reload(&app, from, (&by, &waiting), clock::now())).await;
        tell(&app, &done, &waiting);
        if let Ok(reloaded) = &done {
            waiting.clone_from(&reloaded.after_restart);
        }
        if let Some(told) = told {
            // Nobody may wait any longer.
            drop(told.send(done));
        }
    }
}

async fn received(hang_ups: &mut Option<Signal>) {
    if let Some(hang_ups) = hang_ups
        && hang_ups.recv().await.is_some()
    {
        return;
    }
    std::future::pending().await
}

/// For the log and the counts.
fn tell(app: &App, done: &Result<Reloaded, NotReloaded>, waiting: &[Difference]) {
    let [changed, unchanged, refused] = RELOADS;
    let reloaded = match done {
        Err(reason) => {
            tracing::error!(%reason, "nothing is changed: the configuration is not taken");
            return app.counts.reloaded(refused);
        }
        Ok(reloaded) => reloaded,
    };
    let named = |all: &[Difference]| {
        let paths: Vec<_> = all.iter().map(|one| one.path.as_str()).collect();
        paths.join(", ")
    };
    if reloaded.is_nothing(waiting) {
        tracing::info!("the configuration was read again, and is as before");
        app.counts.reloaded(unchanged);
    } else {
        tracing::info!(
            changed = named(&reloaded.changed),
            certificate = reloaded.has_certificate,
            "the configuration was read again"
        );
        app.counts.reloaded(changed);
    }
    if !reloaded.after_restart.is_empty() {
        let after_restart = named(&reloaded.after_restart);
        tracing::warn!(after_restart, "what these say is in force after a restart only");
    }
}

/// Everything that a reload puts in the place of what there is.
struct Prepared {
    reloaded: Reloaded,
    next: InForce,
    renewal: Option<Renewal>,
}

/// All of it or nothing: it is read and made before anything is changed, and written down before that.
async fn reload(
    app: &Arc<App>,
    from: (&Arc<Source>, Option<&ServerTls>),
    (by, waiting): (&By, &[Difference]),
    now: UnixSeconds,
) -> Result<Reloaded, NotReloaded> {
    let (source, tls, server) = (Arc::clone(from.0), from.1.cloned(), Arc::clone(app));
    let preparing = tokio::task::spawn_blocking(move || prepare(&server, &source, tls.as_ref()));
    let prepared = preparing.await.unwrap_or_else(|e| Err(vec![e.to_string()]));
    let Prepared {
        reloaded,
        next,
        renewal,
    } = prepared.map_err(NotReloaded::Faults)?;
    if reloaded.is_nothing(waiting) {
        return Ok(reloaded);
    }
    let event = event(&reloaded, by);
    let forgets_documents = !next.relies_on_documents_of(&app.in_force());
    let written = app.db.write(async |tx| {
        if forgets_documents {
            client_document::forget_fetched(tx, now).await?;
        }
        audit_event::append(tx, &event, now).await
    });
    written.await.map_err(NotReloaded::Db)?;
    if let Some(renewal) = renewal {
        renewal.apply();
    }
    if reloaded.changed.is_empty() {
        return Ok(reloaded);
    }
    if reloaded.changed.iter().any(|one| one.path == "log.filter") {
        follow_filter(&next.changeable);
    }
    app.put_in_force(next);
    if let Err(failure) = token::warn_of_unknown(app).await {
        tracing::warn!(reason = %failure, "what the configuration names could not be looked up");
    }
    Ok(reloaded)
}

/// Reads everything and makes what comes of it; or says every fault.
fn prepare(app: &App, source: &Source, tls: Option<&ServerTls>) -> Result<Prepared, Vec<String>> {
    let before = app.in_force();
    let (config, mut faults) = match source.read() {
        Ok(config) => (Some(config), Vec::new()),
        Err(ConfigFaults(faults)) => (None, faults),
    };
    let renewal = match tls.map(ServerTls::read_again).transpose() {
        Ok(renewal) => renewal.flatten().filter(Renewal::is_new),
        Err(fault) => {
            faults.push(format!("tls: {fault}"));
            None
        }
    };
    if let Some(config) = &config
        && Listen::leaves_machine(&app.config.listen)
    {
        faults.extend(config.as_read.faults_in_public());
    }
    let Some(config) = config.filter(|_| faults.is_empty()) else {
        return Err(faults);
    };
    let is_told = |one: &Difference| !(one.is_content && CERTIFICATE.contains(&one.path.as_str()));
    let (changed, after_restart) = differences(&before.settings, &config.settings, Changeable::contains)
        .into_iter()
        .filter(is_told)
        .partition(|one| Changeable::contains(&one.path));
    // Those that wait for a restart are in force as they were.
    let (_, kept): (Vec<_>, Vec<_>) =
        (before.settings.iter().cloned()).partition(|setting| Changeable::contains(&setting.path));
    let read = config.settings.iter().cloned();
    let taken = read.filter(|setting| Changeable::contains(&setting.path));
    let settings = kept.into_iter().chain(taken).collect();
    let next = InForce::new(Arc::clone(&config.as_read), settings, app.own(), Some(&before));
    Ok(Prepared {
        next: next.map_err(|fault| vec![fault.to_string()])?,
        reloaded: Reloaded {
            changed,
            after_restart,
            has_certificate: renewal.is_some(),
        },
        renewal,
    })
}

/// Logs as the configuration says, unless the environment says otherwise.
pub(crate) fn follow_filter(changeable: &Changeable) {
    if !shared::config::environment().contains_key("RUST_LOG") {
        shared::telemetry::set_filter(changeable.log_filter.as_deref());
    }
}

/// What the audit log has of it.
fn event<'a>(reloaded: &Reloaded, by: &'a By) -> Event<'a> {
    let object = |all: &[Difference]| {
        let members = all.iter().map(|one| {
            let mut told = json!({"before": one.before, "after": one.after});
            if one.is_content {
                told["content"] = json!("changed");
            }
            (one.path.clone(), told)
        });
        Value::Object(members.collect::<Map<_, _>>())
    };
    let mut event = by.event(Name::ConfigurationReloaded, Target::Configuration);
    let details = &mut event.details;
    details.insert("changed".to_owned(), object(&reloaded.changed));
    details.insert("after_restart".to_owned(), object(&reloaded.after_restart));
    let renewed = Value::from(reloaded.has_certificate);
    details.insert("certificate_renewed".to_owned(), renewed);
    event
}
