//! `[audit]`: how long the audit log remembers.

use std::time::Duration;

use shared::config::{Reader, Span};

/// Events are removed once a day; a shorter time would promise more than is kept.
const SHORTEST: Duration = Duration::from_secs(24 * 60 * 60);
const FOR_EVER: &str = "forever";

/// `audit.retention`; `None`: events stay for ever.
pub(super) fn retention(reader: &mut Reader) -> Option<Duration> {
    let mut section = reader.section("audit");
    let text: String = section.value("retention", FOR_EVER)?;
    if text == FOR_EVER {
        return None;
    }
    match text.parse::<Span>() {
        Ok(span) if span.0 >= SHORTEST => return Some(span.0),
        Ok(_) => section.fault("retention", "must be a day (1d) at least"),
        Err(_) => section.fault("retention", "must be a time such as 400d, or \"forever\""),
    }
    None
}
