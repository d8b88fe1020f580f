//! Logs: one line per event on standard error, for people on a terminal and as JSON otherwise.

use std::io::{self, IsTerminal};
use std::sync::Arc;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

/// Something else that wants every line, as JSON, with its line feed.
pub type LineSink = Arc<dyn Fn(&[u8]) + Send + Sync>;

/// Starts logging. `filter` is the text of `RUST_LOG`; `None` means `info`. A second call changes nothing.
pub fn start(filter: Option<&str>) {
    start_with_copy(filter, None);
}

/// As [`start`]; `copy` gets every line too.
pub fn start_with_copy(filter: Option<&str>, copy: Option<LineSink>) {
    let filter = EnvFilter::try_new(filter.unwrap_or("info")).unwrap_or_else(|_| EnvFilter::new("info"));
    let copied = copy.map(|sink| {
        let json = tracing_subscriber::fmt::layer().json().flatten_event(true);
        json.with_writer(move || SinkWriter(Arc::clone(&sink)))
    });
    let registry = tracing_subscriber::registry().with(filter).with(copied);
    // Both layers escape control characters in values, so that a caller cannot write lines of its own (ASVS 16.4.1).
    let started = if io::stderr().is_terminal() {
        let layer = tracing_subscriber::fmt::layer()
            .with_writer(io::stderr)
            .with_target(false);
        registry.with(layer).try_init()
    } else {
        let layer = tracing_subscriber::fmt::layer()
            .json()
            .flatten_event(true)
            .with_writer(io::stderr);
        registry.with(layer).try_init()
    };
    if started.is_err() {
        tracing::debug!("logging had been started before");
    }
}

/// The layer writes each line at once.
struct SinkWriter(LineSink);

impl io::Write for SinkWriter {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        (self.0)(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
