//! Traces (W3C Trace Context, OpenTelemetry): each request that is served is a span, a child of whatever its `traceparent`
//! names; what is asked of others meanwhile carries the span on. Spans go to a collector, if one is configured; without
//! one nothing is made, and nothing is carried on but what others sent.
//!
//! A span says which route was asked for, how, and with what status it was answered. No address, query, header or token is
//! in it.

mod collector;

use std::future::Future;
use std::sync::OnceLock;

use opentelemetry::propagation::{Extractor, TextMapPropagator};
use opentelemetry::trace::{
    FutureExt, SpanContext, SpanKind, Status, TraceContextExt, Tracer, TracerProvider,
};
use opentelemetry::{Context, KeyValue};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::{Sampler, SdkTracer, SdkTracerProvider};

pub use self::collector::{Collector, OtlpClient};
use crate::config::Reader;
use crate::http_client::{ClientFault, NOT_TO_BE_ASKED, may_be_asked};

/// The header that names the trace and the span (W3C Trace Context §3.2).
pub const TRACEPARENT: &str = "traceparent";

/// One for the whole process, as for logs.
static TRACER: OnceLock<SdkTracer> = OnceLock::new();

/// Where spans go, and how many of them (`[telemetry]`).
#[derive(Clone, PartialEq, Debug)]
pub struct TraceSettings {
    /// The collector: OTLP over HTTP, protobuf.
    pub endpoint: url::Url,
    /// Authorities beside the public ones.
    pub ca_file: Option<std::path::PathBuf>,
    /// How many of the traces that begin here are kept, 0 to 1. Others are kept as their beginning says.
    pub ratio: f64,
}

/// Spans cannot be sent.
#[derive(Debug, thiserror::Error)]
pub enum TraceFault {
    /// See [`ClientFault`].
    #[error("telemetry.otlp_ca_file: {0}")]
    Client(#[from] ClientFault),
    /// The exporter cannot be made.
    #[error("telemetry.otlp_endpoint: {0}")]
    Exporter(String),
}

impl TraceSettings {
    /// Reads `[telemetry]`; `None` without a collector. Faults stay in the reader.
    pub fn read(reader: &mut Reader) -> Option<Self> {
        let mut section = reader.section("telemetry");
        let endpoint: Option<url::Url> = section.optional("otlp_endpoint");
        let ca_file = section.optional("otlp_ca_file");
        let ratio: f64 = section.value("sample_ratio", "1.0").unwrap_or(1.0);
        if !(0.0..=1.0).contains(&ratio) {
            section.fault("sample_ratio", "must be between 0 and 1");
        }
        if endpoint.as_ref().is_some_and(|url| !may_be_asked(url)) {
            section.fault("otlp_endpoint", NOT_TO_BE_ASKED);
        }
        Some(Self {
            endpoint: endpoint?,
            ca_file,
            ratio,
        })
    }
}

/// Starts sending spans, as those of the program called `name`. Call it in the program's runtime, once; the collector is
/// kept, and ended when the program has served.
pub fn start(settings: &TraceSettings, name: &'static str) -> Result<Collector, TraceFault> {
    let resource = Resource::builder_empty().with_service_name(name).build();
    let (collector, queue) = Collector::start(settings, &resource)?;
    let sampler = Sampler::ParentBased(Box::new(Sampler::TraceIdRatioBased(settings.ratio)));
    let provider = SdkTracerProvider::builder()
        .with_resource(resource)
        .with_sampler(sampler)
        .with_span_processor(queue)
        .build();
    if TRACER.set(provider.tracer(name)).is_err() {
        tracing::debug!("traces had been started before");
    }
    Ok(collector)
}

/// The span of a request that is being served. Ends when it is dropped, at the latest.
#[derive(Debug)]
pub struct Serving(Context);

/// Begins the span of a request with these headers; `None` when no traces are made.
pub fn serve<'h>(method: &str, header: impl Fn(&str) -> Option<&'h str>) -> Option<Serving> {
    let tracer = TRACER.get()?;
    let headers = Headers {
        traceparent: header(TRACEPARENT),
    };
    let parent = TraceContextPropagator::new().extract_with_context(&Context::new(), &headers);
    let span = tracer
        .span_builder(known_method(method))
        .with_kind(SpanKind::Server)
        .with_attributes([KeyValue::new("http.request.method", known_method(method))]);
    let span = tracer.build_with_context(span, &parent);
    Some(Serving(Context::new().with_span(span)))
}

impl Serving {
    /// How this span is named to others: the value of `traceparent`.
    pub fn traceparent(&self) -> String {
        written(self.0.span().span_context())
    }

    /// Does some work in this span: what it asks of others belongs to it.
    pub fn around<F: Future>(&self, work: F) -> impl Future<Output = F::Output> + use<F> {
        work.with_context(self.0.clone())
    }

    /// Ends the span.
    pub fn end(self, method: &str, route: &str, status: u16) {
        let span = self.0.span();
        span.update_name(format!("{} {route}", known_method(method)));
        span.set_attributes([
            KeyValue::new("http.route", route.to_owned()),
            KeyValue::new("http.response.status_code", i64::from(status)),
        ]);
        if status >= 500 {
            span.set_status(Status::error(""));
        }
        span.end();
    }
}

/// The value of `traceparent` for what is asked of others in the span that is being served; `None` outside of one.
pub(crate) fn current() -> Option<String> {
    TRACER.get()?;
    Context::map_current(|context| {
        let span = context.span();
        let named = span.span_context();
        named.is_valid().then(|| written(named))
    })
}

/// W3C Trace Context §3.2.
fn written(named: &SpanContext) -> String {
    let (trace, span, flags) = (named.trace_id(), named.span_id(), named.trace_flags().to_u8());
    format!("00-{trace}-{span}-{flags:02x}")
}

/// A method that is none of these was made up (OpenTelemetry semantic conventions, `http.request.method`).
fn known_method(method: &str) -> &'static str {
    let known = ["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH"];
    let known = known.into_iter().find(|known| *known == method);
    known.unwrap_or("_OTHER")
}

struct Headers<'h> {
    traceparent: Option<&'h str>,
}

impl Extractor for Headers<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        match key {
            TRACEPARENT => self.traceparent,
            _ => None,
        }
    }

    fn keys(&self) -> Vec<&str> {
        vec![TRACEPARENT]
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use wiremock::matchers::{header, method, path};
    use wiremock::{Mock, MockServer, ResponseTemplate};

    use super::*;

    const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    fn read(lines: &str) -> Result<Option<TraceSettings>, String> {
        let text = format!("[telemetry]\n{lines}");
        let mut reader = Reader::from_text(text, &BTreeMap::new()).unwrap();
        let settings = TraceSettings::read(&mut reader);
        reader
            .finish()
            .map(|_| settings)
            .map_err(|faults| faults.to_string())
    }

    #[test]
    fn a_collector_is_named_or_there_are_no_traces() {
        assert_eq!(read("").unwrap(), None);
        let settings = read("otlp_endpoint = \"https://c.example/v1/traces\"")
            .unwrap()
            .unwrap();
        assert!((settings.ratio - 1.0).abs() < f64::EPSILON);
        for (lines, key) in [
            (
                "otlp_endpoint = \"http://c.example/v1/traces\"",
                "telemetry.otlp_endpoint",
            ),
            (
                "otlp_endpoint = \"https://a:b@c.example/\"",
                "telemetry.otlp_endpoint",
            ),
            ("sample_ratio = \"1.5\"", "telemetry.sample_ratio"),
        ] {
            assert!(read(lines).unwrap_err().contains(key), "{lines}");
        }
    }

    /// The only test that starts the tracer of this process.
    #[tokio::test]
    async fn a_span_continues_the_trace_carries_it_on_and_reaches_the_collector() {
        assert!(serve("GET", |_| None).is_none(), "off unless started");
        let server = MockServer::start().await;
        Mock::given(method("POST"))
            .and(path("/v1/traces"))
            .and(header("content-type", "application/x-protobuf"))
            .respond_with(ResponseTemplate::new(200))
            .mount(&server)
            .await;
        Mock::given(method("GET"))
            .respond_with(ResponseTemplate::new(200).set_body_json(serde_json::json!({})))
            .mount(&server)
            .await;
        let settings = TraceSettings {
            endpoint: format!("{}/v1/traces", server.uri()).parse().unwrap(),
            ca_file: None,
            ratio: 1.0,
        };
        let collector = start(&settings, "a-program").unwrap();
        let serving = serve("POST", |name| (name == TRACEPARENT).then_some(PARENT)).unwrap();
        let mine = serving.traceparent();
        assert!(
            mine.starts_with(&PARENT[..36]) && mine != PARENT && mine.ends_with("-01"),
            "{mine}"
        );
        let client = crate::http_client::HttpClient::new(None).unwrap();
        let url = format!("{}/asked", server.uri()).parse().unwrap();
        serving.around(client.fetch_json(&url, 100)).await.unwrap();
        client.fetch_json(&url, 100).await.unwrap();
        serving.end("POST", "/oauth/token", 200);
        collector.end().await;
        let requests = server.received_requests().await.unwrap();
        let asked: Vec<_> = requests
            .iter()
            .filter(|request| request.url.path() == "/asked")
            .collect();
        let carried = |at: usize| {
            asked[at]
                .headers
                .get(TRACEPARENT)
                .map(|value| value.to_str().unwrap())
        };
        assert_eq!((carried(0), carried(1)), (Some(&*mine), None));
        let sent: Vec<_> = requests
            .iter()
            .filter(|request| request.url.path() == "/v1/traces")
            .collect();
        let body: Vec<u8> = sent.iter().flat_map(|request| request.body.clone()).collect();
        let has = |bytes: &[u8]| body.windows(bytes.len()).any(|window| window == bytes);
        let trace = u128::from_str_radix(&PARENT[3..35], 16).unwrap().to_be_bytes();
        assert!(has(&trace) && has(b"POST /oauth/token") && has(b"a-program"));
    }
}
