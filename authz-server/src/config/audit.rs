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

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn read(retention_line: &str) -> Result<Option<Duration>, String> {
        let text = format!("[audit]\n{retention_line}");
        let mut reader = Reader::from_text(text, &BTreeMap::new()).unwrap();
        let read = retention(&mut reader);
        reader.finish().map(|_| read).map_err(|faults| faults.to_string())
    }

    #[test]
    fn events_stay_for_ever_or_for_a_day_at_least() {
        const DAY: u64 = 24 * 60 * 60;
        assert_eq!(read("").unwrap(), None);
        assert_eq!(read("retention = \"forever\"").unwrap(), None);
        for (text, days) in [("24h", 1), ("400d", 400)] {
            let span = read(&format!("retention = \"{text}\"")).unwrap();
            assert_eq!(span, Some(Duration::from_secs(days * DAY)));
        }
        for (text, said) in [
            ("23h", "a day (1d) at least"),
            ("0d", "at least"),
            ("long", "forever"),
        ] {
            let faults = read(&format!("retention = \"{text}\"")).unwrap_err();
            assert!(
                faults.contains("audit.retention") && faults.contains(said),
                "{faults}"
            );
        }
    }
}
