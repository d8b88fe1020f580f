//! Stands between rmcp and the wire to an upstream: keeps the order of what it says about a request, and bounds how
//! much it may say.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use rmcp::RoleClient;
use rmcp::model::{GetExtensions, GetMeta, JsonRpcMessage, ServerJsonRpcMessage, ServerNotification};
use rmcp::service::{RxJsonRpcMessage, TxJsonRpcMessage};
use rmcp::transport::Transport;
use tokio::time::Instant;

use super::flights::{Boarding, Flights, Said};

/// Notifications and questions a second, in the long run; a server that has more to say is not heard.
const PER_SECOND: u32 = 200;
/// And at once.
const AT_ONCE: u32 = 1000;
/// How often the log tells that something was dropped.
const COMPLAIN_EVERY: Duration = Duration::from_secs(10);

/// A transport that tells `flights` what is said about a request, before rmcp gets to see it.
pub(super) struct Relay<T> {
    inner: T,
    flights: Arc<Flights>,
    allowance: Allowance,
    name: Arc<str>,
}

impl<T> Relay<T> {
    pub(super) fn new(inner: T, flights: Arc<Flights>, name: Arc<str>) -> Self {
        Self {
            inner,
            flights,
            allowance: Allowance::new(Instant::now()),
            name,
        }
    }

    /// `None` if it was told to whom it concerns, or to nobody.
    fn pass(&mut self, message: ServerJsonRpcMessage) -> Option<ServerJsonRpcMessage> {
        match &message {
            JsonRpcMessage::Response(response) => {
                self.flights.land(&response.id);
                return Some(message);
            }
            JsonRpcMessage::Error(error) => {
                error.id.as_ref().inspect(|id| self.flights.land(id));
                return Some(message);
            }
            JsonRpcMessage::Request(_) | JsonRpcMessage::Notification(_) => {}
        }
        let now = Instant::now();
        if !self.allowance.take(now) {
            if let Some(dropped) = self.allowance.complaint(now) {
                tracing::warn!(
                    upstream = &*self.name,
                    dropped,
                    "an upstream server floods; what it says is dropped"
                );
            }
            return None;
        }
        let JsonRpcMessage::Notification(notification) = message else {
            return Some(message);
        };
        let (whom, said) = match notification.notification {
            ServerNotification::ProgressNotification(progress) => (
                self.flights.by_token(&progress.params.progress_token),
                Said::Progress(progress.params),
            ),
            ServerNotification::LoggingMessageNotification(log) => {
                (self.flights.only(), Said::Log(log.params))
            }
            other => return Some(JsonRpcMessage::notification(other)),
        };
        match whom.map(|whom| whom.try_send(said)) {
            Some(Ok(())) => {}
            // A caller that does not keep up misses something, and an upstream that talks of nothing is ignored.
            Some(Err(_)) | None => {
                tracing::debug!(
                    upstream = &*self.name,
                    "what an upstream server said reached nobody"
                );
            }
        }
        None
    }
}

impl<T: Transport<RoleClient>> Transport<RoleClient> for Relay<T> {
    type Error = T::Error;

    fn name() -> Cow<'static, str> {
        T::name()
    }

    fn send(
        &mut self,
        item: TxJsonRpcMessage<RoleClient>,
    ) -> impl Future<Output = Result<(), Self::Error>> + Send + 'static {
        if let JsonRpcMessage::Request(request) = &item
            && let Some(boarding) = request.request.extensions().get::<Boarding>()
        {
            let token = request.request.get_meta().get_progress_token();
            self.flights.board(request.id.clone(), token, boarding.clone());
        }
        self.inner.send(item)
    }

    async fn receive(&mut self) -> Option<RxJsonRpcMessage<RoleClient>> {
        loop {
            // Nothing is awaited behind this, so that a dropped future loses no message.
            let message = self.inner.receive().await?;
            if let Some(message) = self.pass(message) {
                return Some(message);
            }
        }
    }

    fn close(&mut self) -> impl Future<Output = Result<(), Self::Error>> + Send {
        self.inner.close()
    }
}

/// A bucket of tokens.
struct Allowance {
    left: u32,
    filled_at: Instant,
    dropped: u64,
    complained_at: Option<Instant>,
}

impl Allowance {
    fn new(now: Instant) -> Self {
        Self {
            left: AT_ONCE,
            filled_at: now,
            dropped: 0,
            complained_at: None,
        }
    }

    fn take(&mut self, now: Instant) -> bool {
        let elapsed = now.saturating_duration_since(self.filled_at);
        let earned = elapsed.as_millis().saturating_mul(PER_SECOND.into()) / 1000;
        if earned > 0 {
            let earned = u32::try_from(earned).unwrap_or(u32::MAX);
            self.left = self.left.saturating_add(earned).min(AT_ONCE);
            self.filled_at = now;
        }
        match self.left.checked_sub(1) {
            Some(left) => {
                self.left = left;
                true
            }
            None => {
                self.dropped += 1;
                false
            }
        }
    }

    /// How many were dropped, if it is time to say so.
    fn complaint(&mut self, now: Instant) -> Option<u64> {
        let is_due = self
            .complained_at
            .is_none_or(|at| now.saturating_duration_since(at) >= COMPLAIN_EVERY);
        if !is_due {
            return None;
        }
        self.complained_at = Some(now);
        Some(std::mem::take(&mut self.dropped))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_too_much_is_dropped_and_told_of_now_and_then() {
        let start = Instant::now();
        let mut allowance = Allowance::new(start);
        let taken = (0..AT_ONCE + 5).filter(|_| allowance.take(start)).count();
        assert_eq!(taken, AT_ONCE as usize);
        assert_eq!(allowance.complaint(start), Some(5));
        assert!(!allowance.take(start));
        assert_eq!(allowance.complaint(start), None);
        let later = start + Duration::from_millis(500);
        let taken = (0..AT_ONCE).filter(|_| allowance.take(later)).count();
        assert_eq!(taken, PER_SECOND as usize / 2);
        assert!(allowance.complaint(start + COMPLAIN_EVERY).is_some());
    }
}
