//! A list for a peer that cannot reach the authorization server: here, from the server, or from peers further on.

use std::time::Duration;

use libp2p::PeerId;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use super::open::Search;
use super::task::Finding;
use crate::revocation::{Had, Looked, Revocation};

/// How long a search takes at most.
const SEARCH: Duration = Duration::from_secs(4);

/// What a peer looks for.
pub(super) struct Sought {
    pub(super) uri: String,
    /// Only what is newer will do.
    pub(super) had: Option<Had>,
    pub(super) hops: u8,
    /// Whether the server may be asked, too.
    pub(super) may_look: bool,
}

/// Finds a list; asks peers if `hops` are left and the server cannot be reached.
pub(super) async fn find(
    revocation: &Revocation,
    sought: Sought,
    asker: PeerId,
    findings: &mpsc::Sender<Finding>,
) -> Option<String> {
    let Sought {
        uri,
        had,
        hops,
        may_look,
    } = sought;
    let looked = match may_look {
        true => {
            let looked = revocation.look_for_neighbour(&uri).await;
            revocation.go_on_following(&uri);
            looked
        }
        false => Looked::Reached,
    };
    let found = revocation.newer(&uri, had.as_ref());
    if found.is_some() || hops == 0 || looked != Looked::Unreachable {
        return found;
    }
    let (answer, answered) = oneshot::channel();
    let search = Search {
        uri,
        had,
        hops: hops - 1,
        except: Some(asker),
        answer,
    };
    findings.send(Finding::Search(search)).await.ok()?;
    timeout(SEARCH, answered).await.ok()?.ok()?
}
