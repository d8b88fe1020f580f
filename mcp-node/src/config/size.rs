//! Counts of bytes, written for people.

use std::fmt;
use std::str::FromStr;

/// So many bytes, written `512KiB`, `1MiB` or as a plain number.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ByteCount(pub usize);

/// The text is no count of bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("a size is written like 512KiB or 1MiB, from 1KiB to 64MiB")]
pub struct ByteCountFault;

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;

impl FromStr for ByteCount {
    type Err = ByteCountFault;

    fn from_str(text: &str) -> Result<Self, ByteCountFault> {
        let (number, unit) = match (text.strip_suffix("KiB"), text.strip_suffix("MiB")) {
            (Some(number), _) => (number, KIB),
            (_, Some(number)) => (number, MIB),
            _ => (text, 1),
        };
        let number: usize = number.parse().map_err(|_| ByteCountFault)?;
        let total = number.checked_mul(unit).ok_or(ByteCountFault)?;
        if (KIB..=64 * MIB).contains(&total) {
            Ok(Self(total))
        } else {
            Err(ByteCountFault)
        }
    }
}

impl fmt::Display for ByteCount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_within_bounds() {
        for (text, bytes) in [
            ("1MiB", MIB),
            ("512KiB", 512 * KIB),
            ("2048", 2048),
            ("64MiB", 64 * MIB),
        ] {
            assert_eq!(text.parse(), Ok(ByteCount(bytes)), "{text}");
        }
        for text in [
            "",
            "MiB",
            "1 MiB",
            "1mb",
            "-1",
            "0",
            "1023",
            "65MiB",
            "99999999999999999999MiB",
        ] {
            assert_eq!(text.parse::<ByteCount>(), Err(ByteCountFault), "{text}");
        }
    }
}
