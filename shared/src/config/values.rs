//! Values that have a written form of their own.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// A length of time, written `30s`, `10m`, `1h` or `30d`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Span(pub Duration);

/// The text is no length of time.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("a length of time is written like 30s, 10m, 1h or 30d")]
pub struct SpanFault;

const UNITS: [(&str, u64); 4] = [("d", 86_400), ("h", 3600), ("m", 60), ("s", 1)];

impl FromStr for Span {
    type Err = SpanFault;

    fn from_str(text: &str) -> Result<Self, SpanFault> {
        let (unit, seconds) = UNITS
            .into_iter()
            .find(|(unit, _)| text.ends_with(unit))
            .ok_or(SpanFault)?;
        let number = text.strip_suffix(unit).ok_or(SpanFault)?;
        if number.is_empty() || !number.bytes().all(|b| b.is_ascii_digit()) {
            return Err(SpanFault);
        }
        let number: u64 = number.parse().map_err(|_| SpanFault)?;
        // A century is enough, and keeps every sum of times far from overflow.
        let total = number
            .checked_mul(seconds)
            .filter(|total| *total <= 36_500 * 86_400)
            .ok_or(SpanFault)?;
        Ok(Self(Duration::from_secs(total)))
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let total = self.0.as_secs();
        let (unit, seconds) = UNITS
            .into_iter()
            .find(|(_, seconds)| total > 0 && total.is_multiple_of(*seconds))
            .unwrap_or(("s", 1));
        write!(f, "{}{unit}", total / seconds)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_read_and_printed() {
        for text in ["30s", "10m", "1h", "30d", "0s", "90s"] {
            assert_eq!(text.parse::<Span>().unwrap().to_string(), text);
        }
        for text in [
            "",
            "30",
            "s",
            "1 h",
            "-1s",
            "1.5h",
            "99999999999999999999s",
            "36501d",
            "+1s",
        ] {
            assert_eq!(text.parse::<Span>(), Err(SpanFault), "{text}");
        }
    }
}
