//! What goes on among peers, for `/metrics` and the status. Every label is a word of the program.

use ::web::metrics::Metrics;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;

#[derive(Clone, PartialEq, Eq, Hash, Debug, EncodeLabelSet)]
struct Judged {
    kind: &'static str,
    verdict: &'static str,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug, EncodeLabelSet)]
struct Outcome {
    outcome: &'static str,
}

/// The counts of one network.
pub(super) struct Counts {
    messages: Family<Judged, Counter>,
    proofs: Family<Outcome, Counter>,
    proven: Gauge,
    connections: Gauge,
}

impl Counts {
    pub(super) fn of(metrics: &Metrics) -> Self {
        let counts = Self {
            messages: Family::default(),
            proofs: Family::default(),
            proven: Gauge::default(),
            connections: Gauge::default(),
        };
        metrics.register(
            "p2p_messages",
            "Messages of peers by kind and verdict",
            counts.messages.clone(),
        );
        metrics.register(
            "p2p_proofs",
            "Peers that tried to prove themselves, by outcome",
            counts.proofs.clone(),
        );
        metrics.register(
            "p2p_peers",
            "Connected peers that have proven themselves",
            counts.proven.clone(),
        );
        metrics.register(
            "p2p_connections",
            "Connections to peers, those of strangers included",
            counts.connections.clone(),
        );
        counts
    }

    pub(super) fn judged(&self, kind: &'static str, verdict: &'static str) {
        self.messages.get_or_create(&Judged { kind, verdict }).inc();
    }

    pub(super) fn proof(&self, outcome: &'static str) {
        self.proofs.get_or_create(&Outcome { outcome }).inc();
    }

    pub(super) fn set_connected(&self, (proven, connections): (usize, usize)) {
        self.proven.set(i64::try_from(proven).unwrap_or(i64::MAX));
        self.connections
            .set(i64::try_from(connections).unwrap_or(i64::MAX));
    }
}
