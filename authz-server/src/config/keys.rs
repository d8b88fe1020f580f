//! `[keys]`: what signs, where it is kept, and how often it changes.

use std::path::PathBuf;
use std::time::Duration;

use shared::config::{Reader, Span};
use shared::jose::Algorithm;

use crate::keys::ALGORITHMS;
use crate::keys::life::Schedule;

const NEVER: &str = "never";
/// Ours may be kept for a minute; key sets of other makes are often kept for five. A clock or two may be wrong besides.
const LEAST_AHEAD: Duration = Duration::from_secs(600);

/// The section.
pub(super) struct Keys {
    pub(super) default_algorithm: Algorithm,
    pub(super) master_key_file: Option<PathBuf>,
    pub(super) schedule: Schedule,
}

impl Keys {
    pub(super) fn read(reader: &mut Reader, data_dir: &std::path::Path) -> Self {
        let mut section = reader.section("keys");
        let default_algorithm = section.value("default_alg", "EdDSA").unwrap_or(Algorithm::EdDSA);
        if !ALGORITHMS.contains(&default_algorithm) {
            section.fault("default_alg", "must be EdDSA, RS256 or ES256");
        }
        let master_key_file = section.value("master_key_file", &format!("{}/master.key", data_dir.display()));
        let every: Option<String> = section.value("rotate_every", "30d");
        let every = match every.as_deref() {
            None | Some(NEVER) => None,
            Some(text) => match text.parse::<Span>() {
                Ok(span) => Some(span.0),
                Err(_) => {
                    section.fault("rotate_every", "must be a time such as 30d, or \"never\"");
                    None
                }
            },
        };
        let ahead: Option<Span> = section.value("publish_ahead", "24h");
        let ahead = ahead.map_or(LEAST_AHEAD, |span| span.0);
        if ahead < LEAST_AHEAD {
            let reason = "must be 10m at least: others keep the key set for some minutes, and must know a key before it signs";
            section.fault("publish_ahead", reason);
        }
        if every.is_some_and(|every| every <= ahead) {
            section.fault("rotate_every", "must be longer than keys.publish_ahead");
        }
        Self {
            default_algorithm,
            master_key_file,
            schedule: Schedule { every, ahead },
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn read(lines: &str) -> Result<Schedule, String> {
        let text = format!("[keys]\n{lines}");
        let mut reader = Reader::from_text(text, &BTreeMap::new()).unwrap();
        let keys = Keys::read(&mut reader, std::path::Path::new("./data"));
        reader
            .finish()
            .map(|_| keys.schedule)
            .map_err(|faults| faults.to_string())
    }

    #[test]
    fn keys_sign_for_a_time_and_are_known_before() {
        const DAY: Duration = Duration::from_secs(86_400);
        let usual = Schedule {
            every: Some(30 * DAY),
            ahead: DAY,
        };
        assert_eq!(read("").unwrap(), usual);
        let least = Schedule {
            every: Some(Duration::from_secs(660)),
            ahead: LEAST_AHEAD,
        };
        assert_eq!(
            read("rotate_every = \"11m\"\npublish_ahead = \"10m\"").unwrap(),
            least
        );
        assert_eq!(read("rotate_every = \"never\"").unwrap().every, None);
        for (lines, key, said) in [
            ("publish_ahead = \"9m\"", "keys.publish_ahead", "10m at least"),
            ("rotate_every = \"24h\"", "keys.rotate_every", "longer than"),
            ("rotate_every = \"often\"", "keys.rotate_every", "never"),
            ("default_alg = \"ES384\"", "keys.default_alg", "RS256"),
        ] {
            let faults = read(lines).unwrap_err();
            assert!(faults.contains(key) && faults.contains(said), "{faults}");
        }
    }
}
