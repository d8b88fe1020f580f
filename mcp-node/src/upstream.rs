//! Other MCP servers behind this node: programs that it starts and watches, and servers that it calls over HTTP.
//!
//! One task watches each of them (`watch`): it connects (`program` or `http`, then `link`), asks what the server has
//! (`catalogue`), and starts anew when the server ends. A request is an `exchange`; what the server says meanwhile comes
//! back through `flights`, and what it asks the caller in the middle of it is a `dialogue`. Nothing of the caller's token is in any of these: what goes on is what
//! `identity` writes.

mod answers;
mod catalogue;
mod dialogue;
mod exchange;
mod fault;
mod flights;
mod follow;
mod http;
mod identity;
mod link;
mod listener;
mod logging;
mod names;
mod program;
mod relay;
mod rewrite;
mod seats;
mod stderr;
mod watch;

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use futures_util::future::join_all;
use tokio::sync::watch as channel;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub(crate) use self::catalogue::Catalogue;
use self::dialogue::Parked;
pub(crate) use self::fault::UpstreamFault;
pub(crate) use self::flights::Said;
use self::link::Link;
use self::names::Names;
use self::seats::Seats;
use crate::config::UpstreamConfig;
use crate::gate::{Bounded, Gauge, Gauges};
use crate::mcp::news::News;
use crate::status::UpstreamStatus;

/// How long a list is held back for servers that have just been started for the first time.
const FIRST_START: Duration = Duration::from_secs(5);
/// How long all of them together may take to end.
const LAST_MOMENTS: Duration = Duration::from_secs(10);

/// Events of this target are for operators: they may have in them what a program was told by a caller, or addresses.
/// The copy of the log that callers can read lacks them.
const CALLERS: &str = "mcp_node::upstream::callers";

/// Where an upstream is in its life.
#[derive(Clone)]
enum Stage {
    /// It is being started for the first time.
    Starting,
    /// It answers.
    Up(Arc<Link>),
    /// It does not, and is started anew later.
    Down {
        /// Why, for the operator.
        fault: Arc<str>,
    },
}

/// One server behind this node.
pub(crate) struct Upstream {
    config: UpstreamConfig,
    names: Names,
    stage: channel::Sender<Stage>,
    catalogue: ArcSwap<Catalogue>,
    seats: Seats,
    parked: Arc<Parked>,
    news: News,
    restarts: std::sync::atomic::AtomicU32,
}

impl Upstream {
    fn new(config: UpstreamConfig, prefixes: impl Iterator<Item = String>, news: News) -> Self {
        Self {
            names: Names::new(config.prefix.clone()).beside(prefixes),
            stage: channel::Sender::new(Stage::Starting),
            catalogue: ArcSwap::default(),
            seats: Seats::new(config.concurrency),
            parked: Arc::default(),
            news,
            restarts: std::sync::atomic::AtomicU32::new(0),
            config,
        }
    }

    /// What the operator calls it.
    pub(crate) fn name(&self) -> &str {
        &self.config.name
    }

    /// What it was last known to have. It stays while the server is away, so that lists do not flicker.
    pub(crate) fn catalogue(&self) -> Arc<Catalogue> {
        self.catalogue.load_full()
    }

    fn is_up(&self) -> bool {
        matches!(*self.stage.borrow(), Stage::Up(_))
    }

    fn status(&self) -> UpstreamStatus {
        let catalogue = self.catalogue.load();
        let (state, fault, protocol) = match &*self.stage.borrow() {
            Stage::Starting => ("starting", None, None),
            Stage::Up(link) => ("up", None, link.revision()),
            Stage::Down { fault } => ("down", Some(fault.to_string()), None),
        };
        UpstreamStatus {
            name: self.config.name.clone(),
            state: state.to_owned(),
            fault,
            protocol,
            tools: catalogue.tools.len(),
            resources: catalogue.resources.len(),
            prompts: catalogue.prompts.len(),
            restarts: self.restarts.load(std::sync::atomic::Ordering::Relaxed),
        }
    }
}

impl Bounded for Upstream {
    fn gauges(&self) -> Vec<Gauge> {
        let (waiting, most) = self.parked.count();
        let all = [
            Gauge::of_node("upstream_calls", self.seats.count, self.seats.taken()),
            Gauge::of_node("upstream_questions", most, waiting),
        ];
        let tools = self.names.offered("*");
        all.map(|gauge| gauge.for_tools(&*tools)).into()
    }
}

/// Every server behind this node, in the order of the configuration.
pub(crate) struct Upstreams {
    all: Vec<Arc<Upstream>>,
    ending: CancellationToken,
    tasks: TaskTracker,
}

impl Upstreams {
    /// None of them runs until [`Self::start`].
    pub(crate) fn new(configs: &[UpstreamConfig], news: &News) -> Self {
        Self {
            all: configs
                .iter()
                .cloned()
                .map(|config| {
                    let prefixes = configs.iter().map(|other| other.prefix.clone());
                    Arc::new(Upstream::new(config, prefixes, news.clone()))
                })
                .collect(),
            ending: CancellationToken::new(),
            tasks: TaskTracker::new(),
        }
    }

    /// Starts and watches all of them. A server that does not start is tried again; the node serves meanwhile.
    pub(crate) fn start(&self) {
        for upstream in &self.all {
            self.tasks
                .spawn(watch::run(Arc::clone(upstream), self.ending.clone()));
        }
    }

    /// Ends all of them, programs with everything that they started.
    pub(crate) async fn end(&self) {
        self.ending.cancel();
        self.tasks.close();
        if timeout(LAST_MOMENTS, self.tasks.wait()).await.is_err() {
            tracing::warn!("some upstream servers did not end in time");
        }
    }

    /// All of them, each with what it has, once those that are started for the first time had a moment to tell.
    pub(crate) async fn settled(&self) -> &[Arc<Upstream>] {
        let starts = |upstream: &Arc<Upstream>| matches!(*upstream.stage.borrow(), Stage::Starting);
        if !self.all.iter().any(starts) {
            return &self.all;
        }
        let first = self.all.iter().map(|upstream| async {
            let mut stage = upstream.stage.subscribe();
            drop(stage.wait_for(|stage| !matches!(stage, Stage::Starting)).await);
        });
        drop(timeout(FIRST_START, join_all(first)).await);
        &self.all
    }

    /// All of them, as they are now.
    pub(crate) fn now(&self) -> &[Arc<Upstream>] {
        &self.all
    }

    /// Whether there are any.
    pub(crate) fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// How many there are, and how many of them answer.
    pub(crate) fn count(&self) -> (usize, usize) {
        let up = self.all.iter().filter(|upstream| upstream.is_up()).count();
        (self.all.len(), up)
    }

    /// Shows their limits.
    pub(crate) fn show(&self, gauges: &Gauges) {
        self.all.iter().for_each(|upstream| gauges.add(upstream));
    }

    /// How each of them is.
    pub(crate) fn status(&self) -> Vec<UpstreamStatus> {
        self.all.iter().map(|upstream| upstream.status()).collect()
    }
}
