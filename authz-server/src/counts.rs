//! What is counted and shown at `/metrics` beside what every server of ours counts (docs/metrics.md). Labels are words of
//! the program, or names of what is registered, so many of them at most.

use std::sync::{Arc, Weak};
use std::time::Duration;

use ::web::metrics::{CountsByName, Metrics};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};
use shared::clock::{self, UnixSeconds};
use shared::scope::Scope;

use crate::app::App;
use crate::db::{self, DbFault};
use crate::fleet;
use crate::keys::State;
use crate::token::GrantType;

/// How often sessions and nodes are counted: each time they are all looked at.
const EVERY: Duration = Duration::from_secs(30);

/// What can come of a reload: something is other, nothing is, it has a fault or cannot be written down.
pub(crate) const RELOADS: [&str; 3] = ["changed", "unchanged", "refused"];

#[derive(Clone, PartialEq, Eq, Hash, Debug, EncodeLabelSet)]
struct Grant {
    grant: &'static str,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug, EncodeLabelSet)]
struct NodeState {
    state: &'static str,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug, EncodeLabelSet)]
struct Outcome {
    outcome: &'static str,
}

/// The counts of one server.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    issued: Family<Grant, Counter>,
    by_client: CountsByName,
    by_resource: CountsByName,
    by_scope: CountsByName,
    sessions: Gauge,
    nodes: Family<NodeState, Gauge>,
    reloads: Family<Outcome, Counter>,
}

impl Counts {
    pub(crate) fn of(metrics: &Metrics) -> Self {
        let counts = Self::default();
        for grant in GrantType::ALL {
            // So that a rate can be seen from the first one on.
            drop(counts.issued.get_or_create(&Grant {
                grant: grant.as_str(),
            }));
        }
        metrics.register("tokens_issued", "Access tokens by grant", counts.issued.clone());
        metrics.register(
            "tokens_issued_to_client",
            "Access tokens by client id",
            counts.by_client.metric(),
        );
        metrics.register(
            "tokens_issued_for_resource",
            "Access tokens by resource",
            counts.by_resource.metric(),
        );
        metrics.register(
            "tokens_issued_with_scope",
            "Access tokens by each of their scopes",
            counts.by_scope.metric(),
        );
        for outcome in RELOADS {
            drop(counts.reloads.get_or_create(&Outcome { outcome }));
        }
        metrics.register(
            "configuration_reloads",
            "How often the configuration was read again, by what came of it",
            counts.reloads.clone(),
        );
        metrics.register("sessions", "Browsers that are signed in", counts.sessions.clone());
        metrics.register("nodes", "Enrolments by state", counts.nodes.clone());
        counts
    }

    /// A token was issued.
    pub(crate) fn issued(&self, grant: GrantType, (client_id, resource): (&str, &str), scope: &Scope) {
        let grant = Grant {
            grant: grant.as_str(),
        };
        self.issued.get_or_create(&grant).inc();
        self.by_client.count(client_id);
        self.by_resource.count(resource);
        scope.iter().for_each(|scope| self.by_scope.count(scope));
    }

    /// The configuration was read again, and `outcome`, one of [`RELOADS`], came of it.
    pub(crate) fn reloaded(&self, outcome: &'static str) {
        self.reloads.get_or_create(&Outcome { outcome }).inc();
    }

    /// How many tokens were issued by `grant` since the server started.
    pub(crate) fn issued_by(&self, grant: GrantType) -> u64 {
        let grant = Grant {
            grant: grant.as_str(),
        };
        self.issued.get(&grant).map_or(0, |count| count.get())
    }

    /// Browsers that are signed in, half a minute ago.
    pub(crate) fn sessions(&self) -> i64 {
        self.sessions.get()
    }

    fn set_nodes(&self, states: &[(String, i64)]) {
        for state in ["enrolled", "active", "silent", "replaced", "revoked"] {
            let count = states.iter().find(|(name, _)| name == state);
            self.nodes
                .get_or_create(&NodeState { state })
                .set(count.map_or(0, |(_, count)| *count));
        }
    }
}

/// Counts what only the database knows, until the program ends.
pub(crate) async fn run(app: Arc<App>) {
    let mut timer = tokio::time::interval(EVERY);
    loop {
        timer.tick().await;
        if let Err(fault) = look(&app, clock::now()).await {
            tracing::debug!(reason = %fault, "sessions and nodes could not be counted");
        }
    }
}

async fn look(app: &App, now: UnixSeconds) -> Result<(), DbFault> {
    let idle_since = now - app.config.login.session_idle;
    let sessions = db::session::count_living(&app.db, now, idle_since).await?;
    app.counts.sessions.set(sessions);
    let silent_before = fleet::silent_before(&app.config, now);
    app.counts
        .set_nodes(&db::node::count_by_state(&app.db, silent_before).await?);
    Ok(())
}

/// What is read when somebody asks.
#[derive(Debug)]
pub(crate) struct Watch(Weak<App>);

impl Watch {
    pub(crate) fn of(app: &Arc<App>) -> Self {
        Self(Arc::downgrade(app))
    }
}

impl Collector for Watch {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let Some(app) = self.0.upgrade() else {
            return Ok(());
        };
        let (in_use, all) = app.db.connections();
        gauge(
            &mut encoder,
            (
                "database_connections",
                "Connections that there may be to the database",
            ),
            &[([("state", "all")], all), ([("state", "in_use")], in_use)],
        )?;
        let (now, ring) = (clock::now(), app.known_keys());
        let every = app.config.key_schedule.every;
        let mut ages = Vec::new();
        let mut overdue = Vec::new();
        for key in ring.states.iter().filter(|key| key.state == State::Current) {
            let labels = [("alg", key.algorithm.as_str())];
            let age = now.since(key.signs_from);
            ages.push((labels, seconds(age)));
            overdue.push((
                labels,
                every
                    .filter(|_| !ring.has_heir(key, now))
                    .map_or(0, |every| seconds(age.saturating_sub(every))),
            ));
        }
        gauge(
            &mut encoder,
            (
                "signing_key_age_seconds",
                "For how long the key of an algorithm has been signing",
            ),
            &ages,
        )?;
        gauge(
            &mut encoder,
            (
                "signing_key_overdue_seconds",
                "For how long the key of an algorithm should have been rotated",
            ),
            &overdue,
        )?;
        let states = [State::Next, State::Current, State::Retired].map(|state| {
            let count = ring.states.iter().filter(|key| key.state == state).count();
            (
                [("state", state.as_str())],
                i64::try_from(count).unwrap_or(i64::MAX),
            )
        });
        gauge(
            &mut encoder,
            ("signing_keys", "Signing keys that are published, by state"),
            &states,
        )
    }
}

fn seconds(span: Duration) -> i64 {
    i64::try_from(span.as_secs()).unwrap_or(i64::MAX)
}

fn gauge(
    encoder: &mut DescriptorEncoder<'_>,
    (name, help): (&str, &str),
    values: &[([(&str, &str); 1], i64)],
) -> Result<(), std::fmt::Error> {
    let mut family = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
    for (labels, value) in values {
        ConstGauge::new(*value).encode(family.encode_family(labels)?)?;
    }
    Ok(())
}
