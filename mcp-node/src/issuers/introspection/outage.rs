//! While an issuer does not answer, most are told so at once instead of waiting for it to be silent again.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// One lost answer is no outage: from so many in a row on, there is a pause.
const IN_A_ROW: u32 = 3;
/// The first pause; it doubles up to the second value.
const PAUSE: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));

/// What is known of the issuer's silence.
#[derive(Default)]
pub(super) struct Outage(Mutex<State>);

#[derive(Default)]
struct State {
    failures: u32,
    until: Option<Instant>,
    fault: Option<Arc<str>>,
}

impl Outage {
    /// How long nobody is asked yet, and why; `None` when the issuer may be asked.
    pub(super) fn lasts(&self) -> Option<(Duration, Arc<str>)> {
        let state = self.state();
        let left = state.until?.checked_duration_since(Instant::now())?;
        Some((left.max(PAUSE.0), Arc::clone(state.fault.as_ref()?))).filter(|_| !left.is_zero())
    }

    /// The issuer did not answer; when to try again.
    pub(super) fn goes_on(&self, fault: Arc<str>) -> Duration {
        let mut state = self.state();
        state.fault = Some(fault);
        state.failures = state.failures.saturating_add(1);
        let Some(doublings) = state.failures.checked_sub(IN_A_ROW) else {
            return PAUSE.0;
        };
        let pause = (PAUSE.0 * 2_u32.saturating_pow(doublings.min(5))).min(PAUSE.1);
        state.until = Some(Instant::now() + pause);
        pause
    }

    /// The issuer answered.
    pub(super) fn is_over(&self) {
        *self.state() = State::default();
    }

    /// Why the issuer did not answer the last time.
    pub(super) fn fault(&self) -> Option<Arc<str>> {
        self.state().fault.clone()
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn pauses_grow_and_end_with_an_answer() {
        let outage = Outage::default();
        for _ in 0..2 {
            outage.goes_on("silent".into());
            assert!(outage.lasts().is_none());
        }
        for expected in [1, 2, 4, 8, 16, 30, 30] {
            assert_eq!(outage.goes_on("silent".into()).as_secs(), expected);
            assert_eq!(outage.lasts().unwrap().0.as_secs(), expected);
            advance(Duration::from_secs(expected)).await;
            assert!(outage.lasts().is_none());
        }
        assert_eq!(outage.fault().as_deref(), Some("silent"));
        outage.is_over();
        assert!(outage.fault().is_none());
        outage.goes_on("silent".into());
        assert!(outage.lasts().is_none());
    }
}
