//! Lines as log records to a collector of OpenTelemetry: OTLP over HTTP, through the one outbound client.

use std::path::Path;
use std::time::{Duration, UNIX_EPOCH};

use opentelemetry::InstrumentationScope;
use opentelemetry::logs::{AnyValue, LogRecord, Logger, LoggerProvider, Severity};
use opentelemetry_otlp::{LogExporter, Protocol, RetryPolicy, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::logs::{LogBatch, LogExporter as _, SdkLogger, SdkLoggerProvider};
use shared::trace::OtlpClient;
use url::Url;

use super::AuditFault;
use super::entry::Entry;
use super::writer::Sink;

/// The name of the records, and of the scope that they come from.
const NAME: &str = "mcp_node.audit";

/// The collector.
#[derive(Debug)]
pub(super) struct OtlpSink {
    exporter: LogExporter,
    logger: SdkLogger,
    scope: InstrumentationScope,
}

impl OtlpSink {
    /// Prepares to send; asks nobody yet. Headers come from `OTEL_EXPORTER_OTLP_HEADERS`, as everywhere with OTLP.
    pub(super) fn new(endpoint: &Url, ca_file: Option<&Path>) -> Result<Self, AuditFault> {
        let client = OtlpClient::new(shared::http_client::HttpClient::new(ca_file)?);
        let mut exporter = LogExporter::builder()
            .with_http()
            .with_http_client(client)
            .with_protocol(Protocol::HttpBinary)
            .with_endpoint(endpoint.as_str())
            // The writer tries again; the library would put its thread to sleep.
            .with_retry_policy(RetryPolicy::default().with_max_retries(0))
            .build()
            .map_err(|fault| AuditFault::Collector(fault.to_string()))?;
        exporter.set_resource(&Resource::builder_empty().with_service_name("mcp-node").build());
        Ok(Self {
            exporter,
            logger: SdkLoggerProvider::builder().build().logger(NAME),
            scope: InstrumentationScope::builder(NAME)
                .with_version(env!("CARGO_PKG_VERSION"))
                .build(),
        })
    }
}

impl Sink for OtlpSink {
    async fn keep(&mut self, entries: &[Entry]) -> Result<(), String> {
        let records: Vec<_> = entries
            .iter()
            .map(|entry| {
                let mut record = self.logger.create_log_record();
                let at = UNIX_EPOCH + Duration::from_secs(u64::try_from(entry.decided_at().0).unwrap_or(0));
                record.set_event_name(NAME);
                record.set_timestamp(at);
                record.set_observed_timestamp(at);
                record.set_severity_number(Severity::Info);
                record.set_body(AnyValue::from(entry.line().trim_end().to_owned()));
                record.add_attributes(entry.attributes());
                record
            })
            .collect();
        let batch: Vec<_> = records.iter().map(|record| (record, &self.scope)).collect();
        let sent = self.exporter.export(LogBatch::new(&batch)).await;
        sent.map_err(|fault| fault.to_string())
    }

    async fn reopen(&mut self) -> Result<(), String> {
        Ok(())
    }
}
