//! A clock for ages that outlive the program. It goes as the monotonic clock does, and begins where the last run ended,
//! or at the wall clock, whichever is later. Set the wall clock back or forward, stop the program or not: no age gets
//! smaller by it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::time::Instant;

use crate::clock::UnixSeconds;
use crate::tls::write_private;

/// Milliseconds since 1970, as this clock counts them.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Moment(u64);

impl Moment {
    /// From a file.
    pub fn from_millis(millis: u64) -> Self {
        Self(millis)
    }

    /// For a file.
    pub fn millis(self) -> u64 {
        self.0
    }

    /// The moment that lies so much earlier.
    pub fn before(self, span: Duration) -> Self {
        let millis = u64::try_from(span.as_millis()).unwrap_or(u64::MAX);
        Self(self.0.saturating_sub(millis))
    }

    /// The time from `earlier` to this; zero when that is later.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }
}

/// The clock.
#[derive(Debug)]
pub struct LastingClock {
    began_at: u64,
    began: Instant,
    file: Option<PathBuf>,
}

impl LastingClock {
    /// A clock that begins at the wall clock's `now` and is not kept.
    pub fn starting_at(now: UnixSeconds) -> Self {
        Self {
            began_at: millis(now),
            began: Instant::now(),
            file: None,
        }
    }

    /// A clock that is kept in `file`. A file that cannot be read is as none.
    pub fn open(file: &Path, now: UnixSeconds) -> Self {
        let kept = std::fs::read_to_string(file).ok();
        let kept = kept.and_then(|text| {
            let read = text.trim().parse::<u64>();
            if read.is_err() {
                tracing::warn!(file = %file.display(), "it holds no time; the wall clock is believed");
            }
            read.ok()
        });
        Self {
            began_at: millis(now).max(kept.unwrap_or(0)),
            began: Instant::now(),
            file: Some(file.to_owned()),
        }
    }

    /// Now, by this clock.
    pub fn now(&self) -> Moment {
        let elapsed = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        Moment(self.began_at.saturating_add(elapsed))
    }

    /// Keeps the time, so that the next run begins no earlier. Does nothing without a file.
    pub fn keep(&self) -> std::io::Result<()> {
        match &self.file {
            Some(file) => write_private(file, format!("{}\n", self.now().0).as_bytes(), true),
            None => Ok(()),
        }
    }
}

fn millis(now: UnixSeconds) -> u64 {
    u64::try_from(now.0).unwrap_or(0).saturating_mul(1000)
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    const NOON: UnixSeconds = UnixSeconds(1_800_000_000);
    const HOUR: Duration = Duration::from_secs(3600);

    #[tokio::test(start_paused = true)]
    async fn no_wall_clock_makes_an_age_smaller() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("clock");
        let clock = LastingClock::open(&file, NOON);
        let first = clock.now();
        advance(HOUR).await;
        assert_eq!(clock.now().since(first), HOUR);
        clock.keep().unwrap();
        // Rebooted with the clock a day behind: it goes on where it was.
        let again = LastingClock::open(&file, NOON - 24 * HOUR);
        assert_eq!(again.now().since(first), HOUR);
        advance(HOUR).await;
        again.keep().unwrap();
        // And ahead of it: the time without power counts.
        let later = LastingClock::open(&file, NOON + 24 * HOUR);
        assert_eq!(later.now().since(first), 24 * HOUR);
    }

    #[tokio::test(start_paused = true)]
    async fn a_damaged_file_is_as_none() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("clock");
        std::fs::write(&file, "yesterday").unwrap();
        assert_eq!(LastingClock::open(&file, NOON).now().millis(), 1_800_000_000_000);
        std::fs::write(&file, "1900000000000\n").unwrap();
        assert_eq!(LastingClock::open(&file, NOON).now().millis(), 1_900_000_000_000);
    }
}
