//! Lines of an upstream's log on their way to the caller whose request they are about.

#![expect(
    deprecated,
    reason = "2026-07-28 discourages MCP's own logging (SEP-2577), but clients and servers of every revision have it"
)]

use rmcp::RoleServer;
use rmcp::model::{LoggingLevel, LoggingMessageNotificationParam, RequestMetaObject};
use rmcp::service::Peer;

/// A line of a log.
pub(crate) type Line = LoggingMessageNotificationParam;

/// Tells the caller.
pub(super) async fn tell(peer: &Peer<RoleServer>, line: Line) {
    // Whoever has hung up does not want it any more.
    peer.notify_logging_message(line).await.ok();
}

/// Whether a caller whose request says `meta` wants this line. Since 2026-07-28 every request says how much of the log
/// is wanted, and nothing is unless it does. Before that, the server decides where nothing was said ("Logging").
pub(super) fn is_wanted(line: &Line, meta: &RequestMetaObject) -> bool {
    match (meta.protocol_version(), meta.log_level()) {
        (Some(_), None) => false,
        (_, Some(least)) => severity(line.level) >= severity(least),
        (None, None) => true,
    }
}

/// RFC 5424 §6.2.1, the other way round.
fn severity(level: LoggingLevel) -> u8 {
    match level {
        LoggingLevel::Debug => 0,
        LoggingLevel::Info => 1,
        LoggingLevel::Notice => 2,
        LoggingLevel::Warning => 3,
        LoggingLevel::Error => 4,
        LoggingLevel::Critical => 5,
        LoggingLevel::Alert => 6,
        LoggingLevel::Emergency => 7,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{from_value, json};

    use super::*;

    #[test]
    fn the_newest_revision_hears_what_it_asked_for() {
        let line = |level: &str| from_value(json!({"level": level, "data": "x"})).unwrap();
        let meta = |value| from_value::<RequestMetaObject>(value).unwrap();
        let version = "io.modelcontextprotocol/protocolVersion";
        let level = "io.modelcontextprotocol/logLevel";
        assert!(is_wanted(&line("debug"), &meta(json!({}))));
        assert!(!is_wanted(&line("error"), &meta(json!({version: "2026-07-28"}))));
        let warned = meta(json!({version: "2026-07-28", level: "warning"}));
        assert!(is_wanted(&line("warning"), &warned) && is_wanted(&line("alert"), &warned));
        assert!(!is_wanted(&line("notice"), &warned));
    }
}
