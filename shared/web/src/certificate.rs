//! The certificate that we show, as operators see it: in `/metrics` and in `/readyz`.

use actix_web::HttpRequest;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use serde_json::{Value, json};
use shared::clock::now;
use shared::tls::ServerTls;

use crate::metrics::Metrics;

/// Reads the certificate whenever somebody asks.
struct Watch(ServerTls);

impl std::fmt::Debug for Watch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Watch")
    }
}

impl Collector for Watch {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        if let Some(until) = self.0.expires() {
            let gauge = ConstGauge::new(until.0);
            let told = encoder.encode_descriptor(
                "tls_certificate_expires_timestamp_seconds",
                "Until when the certificate in use counts, in seconds since 1970",
                None,
                MetricType::Gauge,
            )?;
            gauge.encode(told)?;
        }
        let Some(orders) = &self.0.orders else {
            return Ok(());
        };
        let mut told = encoder.encode_descriptor(
            "acme_orders",
            "Orders of certificates by outcome",
            None,
            MetricType::Counter,
        )?;
        for (outcome, count) in orders.by_outcome() {
            let labels = [("outcome", outcome)];
            ConstCounter::new(count).encode(told.encode_family(&labels)?)?;
        }
        Ok(())
    }
}

/// Adds the certificate to `/metrics`.
pub(crate) fn show(tls: &ServerTls, metrics: &Metrics) {
    metrics.collect(Watch(tls.clone()));
}

/// The certificate, for those who answer.
pub(crate) struct Shown(pub(crate) Option<ServerTls>);

/// Adds the member that `/readyz` has of a certificate, if there is TLS: [`ServerTls::standing`], and its end.
pub fn tell(request: &HttpRequest, answer: &mut Value) {
    let shown = request.app_data::<Shown>();
    if let Some(tls) = shown.and_then(|shown| shown.0.as_ref()) {
        let until = tls.expires().map(|until| until.to_rfc3339());
        answer["certificate"] = json!({"standing": tls.standing(now()), "until": until});
    }
}
