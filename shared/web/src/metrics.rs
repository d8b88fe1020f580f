//! Prometheus metrics. Labels come from the program, never from a caller, so their number is bounded; names of what is
//! registered, which others choose, are bounded by [`CountsByName`].

mod names;
mod times;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError, RwLock, RwLockReadGuard};
use std::time::Duration;

use actix_web::HttpResponse;
use actix_web::http::header::CONTENT_TYPE;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::{Metric, Registry};

pub use self::names::{CountsByName, MAX_NAMES, OTHER};
use self::times::Histogram;
pub use self::times::Times;

#[derive(Clone, PartialEq, Eq, Hash, Debug, EncodeLabelSet)]
struct Answered {
    route: String,
    status: u16,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug, EncodeLabelSet)]
struct Route {
    route: String,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug, EncodeLabelSet)]
struct Reason {
    reason: &'static str,
}

/// The metrics of one program. Register further ones with [`Metrics::register`] before it serves.
#[derive(Debug)]
pub struct Metrics {
    registry: Mutex<Registry>,
    answers: Family<Answered, Counter>,
    seconds: Family<Route, Histogram>,
    /// The routes that there have been: of the program, so not many.
    routes: RwLock<BTreeMap<String, Histogram>>,
    refusals: Family<Reason, Counter>,
    /// The reasons that there have been: words of the program, so not many.
    reasons: RwLock<BTreeSet<&'static str>>,
    /// Answers, and the microseconds that they took.
    totals: (AtomicU64, AtomicU64),
    panics: Counter,
}

impl Metrics {
    /// Metrics named `prefix_…`.
    pub fn new(prefix: &str) -> Self {
        let mut registry = Registry::with_prefix(prefix);
        let answers = Family::<Answered, Counter>::default();
        registry.register("http_answers", "Answers by route and status", answers.clone());
        let seconds = Family::<Route, Histogram>::default();
        registry.register(
            "http_seconds",
            "Time from request head to answer head, by route",
            seconds.clone(),
        );
        let refusals = Family::<Reason, Counter>::default();
        registry.register("refusals", "Requests refused, by reason", refusals.clone());
        let panics = Counter::default();
        registry.register(
            "panics",
            "Requests that ended in a caught panic; each is a bug",
            panics.clone(),
        );
        Self {
            registry: Mutex::new(registry),
            answers,
            seconds,
            routes: RwLock::default(),
            refusals,
            reasons: RwLock::default(),
            totals: (AtomicU64::new(0), AtomicU64::new(0)),
            panics,
        }
    }

    /// Adds a metric.
    pub fn register(&self, name: &str, help: &str, metric: impl Metric) {
        self.lock().register(name, help, metric);
    }

    /// Adds something that is read whenever somebody asks.
    pub fn collect(&self, collector: impl Collector) {
        self.lock().register_collector(Box::new(collector));
    }

    /// Counts a refusal. `reason` is a word of the program's own.
    pub fn refused(&self, reason: &'static str) {
        self.refusals.get_or_create(&Reason { reason }).inc();
        if !self.reasons().contains(reason) {
            let mut reasons = self.reasons.write().unwrap_or_else(PoisonError::into_inner);
            reasons.insert(reason);
        }
    }

    /// How often something was refused since the program started, by reason.
    pub fn refusals_by_reason(&self) -> Vec<(&'static str, u64)> {
        let reasons = self.reasons();
        reasons
            .iter()
            .map(|reason| (*reason, self.refusals(reason)))
            .collect()
    }

    /// How many answers there were since the program started, and how many microseconds they took together, each from
    /// request head to answer head.
    pub fn answers(&self) -> (u64, u64) {
        let (count, micros) = &self.totals;
        (count.load(Ordering::Relaxed), micros.load(Ordering::Relaxed))
    }

    fn reasons(&self) -> RwLockReadGuard<'_, BTreeSet<&'static str>> {
        self.reasons.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// How often something was refused for this reason since the program started.
    pub fn refusals(&self, reason: &'static str) -> u64 {
        self.refusals
            .get(&Reason { reason })
            .map_or(0, |count| count.get())
    }

    /// Counts an answer. `route` is one of the program's own.
    pub fn answered(&self, route: String, status: u16, time: Duration) {
        let micros = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        self.totals.0.fetch_add(1, Ordering::Relaxed);
        self.totals.1.fetch_add(micros, Ordering::Relaxed);
        self.histogram(&route).observe(time);
        self.answers.get_or_create(&Answered { route, status }).inc();
    }

    fn histogram(&self, route: &str) -> Histogram {
        let routes = self.routes.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = routes.get(route) {
            return known.clone();
        }
        drop(routes);
        let label = Route {
            route: route.to_owned(),
        };
        let new = self.seconds.get_or_create(&label).clone();
        let mut routes = self.routes.write().unwrap_or_else(PoisonError::into_inner);
        routes.insert(route.to_owned(), new.clone());
        new
    }

    /// How long the answers of each route took since the program started.
    pub fn times_by_route(&self) -> Vec<(String, Times)> {
        let routes = self.routes.read().unwrap_or_else(PoisonError::into_inner);
        routes
            .iter()
            .map(|(route, histogram)| (route.clone(), histogram.times()))
            .collect()
    }

    pub(crate) fn panicked(&self) {
        self.panics.inc();
    }

    /// The text format that Prometheus scrapes.
    pub fn answer(&self) -> HttpResponse {
        let mut text = String::new();
        match prometheus_client::encoding::text::encode(&mut text, &self.lock()) {
            Ok(()) => HttpResponse::Ok()
                .insert_header((
                    CONTENT_TYPE,
                    "application/openmetrics-text; version=1.0.0; charset=utf-8",
                ))
                .body(text),
            Err(_) => HttpResponse::InternalServerError().finish(),
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Registry> {
        // A registry cannot be left half-changed by a panic that would poison the lock.
        self.registry.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
