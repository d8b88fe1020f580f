//! The way of spans to a collector: a bounded queue, and one task that sends what is in it. Who serves never waits.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use opentelemetry::Context;
use opentelemetry_http::{Bytes, HttpError, Request, Response};
use opentelemetry_otlp::{Protocol, RetryPolicy, SpanExporter, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{Span, SpanData, SpanExporter as _, SpanProcessor};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};
use url::Url;

use super::{TraceFault, TraceSettings};
use crate::http_client::HttpClient;

/// So many spans wait at most; further ones are lost.
const WAITING: usize = 4096;
/// So many are sent at once.
const AT_ONCE: usize = 512;
/// How long the first of a batch waits for others.
const GATHER: Duration = Duration::from_millis(500);
/// A collector that takes longer has not taken them.
const PATIENCE: Duration = Duration::from_secs(10);
/// The largest answer of a collector, in bytes.
const MAX_ANSWER: usize = 64 * 1024;

/// The task that sends spans.
#[derive(Debug)]
pub struct Collector {
    over: Arc<AtomicBool>,
    /// Wakes the task at the end.
    wake: Arc<tokio::sync::Notify>,
    task: JoinHandle<()>,
}

/// Where finished spans go.
#[derive(Debug)]
pub(super) struct Queue(mpsc::Sender<SpanData>);

impl SpanProcessor for Queue {
    fn on_start(&self, _span: &mut Span, _context: &Context) {}

    fn on_end(&self, span: SpanData) {
        if span.span_context.is_sampled() && self.0.try_send(span).is_err() {
            tracing::debug!("a span is lost: too many wait for the collector");
        }
    }

    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    fn shutdown_with_timeout(&self, _timeout: Duration) -> OTelSdkResult {
        Ok(())
    }
}

impl Collector {
    pub(super) fn start(settings: &TraceSettings, resource: &Resource) -> Result<(Self, Queue), TraceFault> {
        let client = OtlpClient::new(HttpClient::new(settings.ca_file.as_deref())?);
        let mut exporter = SpanExporter::builder()
            .with_http()
            .with_http_client(client)
            .with_protocol(Protocol::HttpBinary)
            .with_endpoint(settings.endpoint.as_str())
            .with_timeout(PATIENCE)
            // Its pauses would put a thread to sleep.
            .with_retry_policy(RetryPolicy::default().with_max_retries(0))
            .build()
            .map_err(|fault| TraceFault::Exporter(fault.to_string()))?;
        exporter.set_resource(resource);
        let (sender, waiting) = mpsc::channel(WAITING);
        let (over, wake) = (Arc::new(AtomicBool::new(false)), Arc::default());
        let task = tokio::spawn(send(exporter, waiting, (Arc::clone(&over), Arc::clone(&wake))));
        Ok((Self { over, wake, task }, Queue(sender)))
    }

    /// Sends what is left, for some seconds at most.
    pub async fn end(self) {
        self.over.store(true, Ordering::Release);
        self.wake.notify_one();
        if timeout(PATIENCE, self.task).await.is_err() {
            tracing::debug!("the collector did not take the last spans");
        }
    }
}

async fn send(
    exporter: SpanExporter,
    mut waiting: mpsc::Receiver<SpanData>,
    (over, wake): (Arc<AtomicBool>, Arc<tokio::sync::Notify>),
) {
    let mut is_failing = false;
    loop {
        let is_over = over.load(Ordering::Acquire);
        let mut batch = Vec::new();
        if is_over {
            while batch.len() < AT_ONCE {
                let Ok(span) = waiting.try_recv() else { break };
                batch.push(span);
            }
            if batch.is_empty() {
                return;
            }
        } else {
            tokio::select! {
                received = waiting.recv_many(&mut batch, AT_ONCE) => if received == 0 { return; },
                () = wake.notified() => continue,
            }
            if batch.len() < AT_ONCE {
                tokio::select! {
                    () = sleep(GATHER) => {}
                    () = wake.notified() => {}
                }
                while batch.len() < AT_ONCE {
                    let Ok(span) = waiting.try_recv() else { break };
                    batch.push(span);
                }
            }
        }
        let (count, sent) = (batch.len(), exporter.export(batch).await);
        match sent {
            Ok(()) => is_failing = false,
            Err(fault) if !std::mem::replace(&mut is_failing, true) => {
                tracing::warn!(count, reason = %fault, "the collector does not take spans; they are lost");
            }
            Err(_) => {}
        }
    }
}

/// The one outbound client, as OpenTelemetry's exporters need it.
#[derive(Debug)]
pub struct OtlpClient(HttpClient);

impl OtlpClient {
    /// Sends by `client`.
    #[must_use]
    pub fn new(client: HttpClient) -> Self {
        Self(client)
    }
}

impl opentelemetry_http::HttpClient for OtlpClient {
    fn send_bytes<'s, 'f>(
        &'s self,
        request: Request<Bytes>,
    ) -> std::pin::Pin<Box<dyn Future<Output = Result<Response<Bytes>, HttpError>> + Send + 'f>>
    where
        's: 'f,
        Self: 'f,
    {
        Box::pin(async move {
            let url: Url = request.uri().to_string().parse()?;
            let (head, body) = request.into_parts();
            let (status, answer) = self
                .0
                .post_bytes(&url, &head.headers, body.to_vec(), MAX_ANSWER)
                .await?;
            Ok(Response::builder().status(status).body(Bytes::from(answer))?)
        })
    }
}
