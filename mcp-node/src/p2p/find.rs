//! A list for a peer that cannot reach the authorization server: here, from the server, or from peers further on.

use std::time::Duration;

use libp2p::PeerId;
use shared::clock::UnixSeconds;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use super::questions::Search;
use super::task::Finding;
use crate::revocation::Revocation;

/// How long a search takes at most.
const SEARCH: Duration = Duration::from_secs(4);

/// Finds the list at `uri`, if there is one that was signed after `iat`; asks peers if `hops` are left.
pub(super) async fn find(
    revocation: &Revocation,
    (uri, iat, hops): (String, Option<UnixSeconds>, u8),
    asker: PeerId,
    findings: &mpsc::Sender<Finding>,
) -> Option<String> {
    if !revocation.is_alone() {
        revocation.look_for_neighbour(&uri).await;
    }
    let found = revocation.newer(&uri, iat);
    if found.is_some() || hops == 0 || !revocation.is_alone() {
        return found;
    }
    let (answer, answered) = oneshot::channel();
    let search = Search {
        uri: uri.clone(),
        iat,
        hops: hops - 1,
        except: Some(asker),
        answer,
    };
    findings.send(Finding::Search(search)).await.ok()?;
    let token = timeout(SEARCH, answered).await.ok()?.ok()??;
    // Judged before it is passed on.
    revocation.offer(&token).await;
    revocation.newer(&uri, iat)
}
