//! Logs: one line per event on standard error, for people on a terminal and as JSON otherwise.

use std::io::{self, IsTerminal};
use std::sync::{Arc, OnceLock};

use tracing::{Level, Metadata};
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, Registry, reload};

/// What is logged unless `RUST_LOG` says otherwise: what an operator acts on, without the libraries' small talk.
const DEFAULT_FILTER: &str = "info,actix_server=warn,sqlx=warn";

/// The end of the target of events that tell who called and what they showed. Such events are never copied.
const CALLERS: &str = "::callers";

/// By which the filter is changed.
static FILTER: OnceLock<reload::Handle<EnvFilter, Registry>> = OnceLock::new();

/// Something else that wants the lines, as JSON, with their line feeds.
pub type LineSink = Arc<dyn Fn(&[u8]) + Send + Sync>;

/// Starts logging. `filter` is the text of `RUST_LOG`; a text that is no filter counts as none. A second call
/// changes nothing.
pub fn start(filter: Option<&str>) {
    start_with_copy(filter, None);
}

/// As [`start`]; `copy`, which others than the operator may read, gets the lines that tell of no caller.
pub fn start_with_copy(filter: Option<&str>, copy: Option<LineSink>) {
    let filter = EnvFilter::try_new(filter.unwrap_or(DEFAULT_FILTER))
        .unwrap_or_else(|_| EnvFilter::new(DEFAULT_FILTER));
    let copied = copy.map(|sink| {
        let json = tracing_subscriber::fmt::layer().json().flatten_event(true);
        json.with_writer(move || SinkWriter(Arc::clone(&sink)))
            .with_filter(filter_fn(may_be_copied))
    });
    let (filter, handle) = reload::Layer::new(filter);
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
    } else if FILTER.set(handle).is_err() {
        tracing::debug!("the filter of logs had been kept before");
    }
}

/// Logs what `filter` says from now on; `None`: what is logged unless somebody says otherwise. A text that is no filter
/// changes nothing ([`check_filter`]).
pub fn set_filter(filter: Option<&str>) {
    let filter = EnvFilter::try_new(filter.unwrap_or(DEFAULT_FILTER));
    let changed = FILTER
        .get()
        .zip(filter.ok())
        .map(|(handle, filter)| handle.reload(filter));
    if let Some(Err(fault)) = changed {
        tracing::warn!(reason = %fault, "the filter of logs stays as it was");
    }
}

/// Whether `text` is a filter, such as `info` or `warn,authz_server=debug`; else why not.
pub fn check_filter(text: &str) -> Result<(), String> {
    EnvFilter::try_new(text).map(drop).map_err(|e| e.to_string())
}

/// Events below `info` describe single requests, and so their callers.
fn may_be_copied(event: &Metadata<'_>) -> bool {
    *event.level() <= Level::INFO && !event.target().ends_with(CALLERS)
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

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    #[test]
    fn the_copy_has_what_tells_of_no_caller() {
        let lines = Arc::new(Mutex::new(String::new()));
        let sink = Arc::clone(&lines);
        let copy: LineSink =
            Arc::new(move |line| sink.lock().unwrap().push_str(&String::from_utf8_lossy(line)));
        start_with_copy(Some("trace"), Some(copy));
        tracing::info!("the node started");
        tracing::info!(target: "mcp_node::callers", "192.0.2.1 was refused");
        tracing::debug!("192.0.2.2 asked");
        let lines = lines.lock().unwrap();
        assert!(
            lines.contains("the node started") && !lines.contains("192.0.2"),
            "{lines}"
        );
    }
}
