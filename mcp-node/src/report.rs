//! The node tells its server that it is awake, and what it sees, again and again (docs/fleet.md). What is told is how it is
//! now and what it has counted since it started: of a report that does not arrive, nothing is lost.

use std::sync::Arc;
use std::time::Duration;

use shared::clock::now;
use shared::fleet::report::Report;
use shared::secret::random_bytes;
use tokio::time::sleep;

use crate::app::Node;
use crate::status::versions;

/// The pause after the first attempt that failed; it doubles up to the second value, and to no more than the server's interval:
/// who comes back later than that would be taken for silent.
const BACK_OFF: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));
/// The server says how often it wants to be told, within these.
const INTERVAL: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(3600));

/// Tells until the program stops. A node that has not enrolled tells nobody.
pub(crate) async fn keep_telling(node: Arc<Node>) {
    let Some(member) = &node.membership else {
        return;
    };
    let issuer = member.enrolment().issuer.as_str();
    let (mut back_off, mut longest) = BACK_OFF;
    loop {
        let pause = match member.report(&of(&node), now()).await {
            Ok(interval) => {
                if back_off != BACK_OFF.0 {
                    tracing::info!(issuer, "the authorization server hears of this node again");
                }
                back_off = BACK_OFF.0;
                let interval = interval.clamp(INTERVAL.0, INTERVAL.1);
                longest = interval.min(BACK_OFF.1);
                spread(interval)
            }
            Err(reason) => {
                if back_off == BACK_OFF.0 {
                    tracing::warn!(issuer, %reason, "the authorization server does not hear of this node; it will be tried again");
                }
                let pause = spread(back_off);
                back_off = (back_off * 2).min(longest);
                pause
            }
        };
        tokio::select! {
            () = sleep(pause) => {}
            () = node.stopping.cancelled() => return,
        }
    }
}

fn of(node: &Node) -> Report {
    let peers = node.peers.list();
    let connected = peers.iter().filter(|peer| peer.is_connected());
    let calls = node.gate.calls_by_outcome().into_iter();
    let report = Report {
        version: versions().node,
        uptime_seconds: node.observer.uptime().as_secs(),
        sees: connected.map(|peer| peer.node_id.to_string()).collect(),
        addresses: node.reach.get().addresses,
        calls: calls
            .map(|(outcome, count)| (outcome.to_owned(), count))
            .collect(),
    };
    report.bounded()
}

/// `span`, or up to a quarter less: nodes that started together shall not tell together for ever.
fn spread(span: Duration) -> Duration {
    let part = random_bytes::<1>().map_or(0, |[byte]| u32::from(byte));
    span - span / 4 * part / 256
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_differ_and_are_never_longer_than_asked() {
        let minute = Duration::from_secs(60);
        let all: Vec<_> = (0..100).map(|_| spread(minute)).collect();
        assert!(
            all.iter()
                .all(|pause| *pause <= minute && *pause > minute / 4 * 3)
        );
        assert!(all.iter().any(|pause| *pause != all[0]));
    }
}
