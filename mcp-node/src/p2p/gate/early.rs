//! A stream that comes before its time. Whoever has not proven itself may begin one stream of a protocol that is behind
//! the gate: it is agreed on, and nothing of it is read, until the gate is open or the connection is gone.
//!
//! Gossip begins its stream as soon as there is a connection, and where that is refused it never begins another: a peer of
//! stock libp2p could not hold it back until it has proven itself, and would be deaf and dumb for good.

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::sync::Arc;

use libp2p::core::upgrade::{InboundUpgrade, UpgradeInfo};
use libp2p::{Stream, StreamProtocol};

/// A stream that waits, and the protocol that was agreed on.
pub(in crate::p2p) type Waiting = (Stream, StreamProtocol);

/// What may wait at the gate of one connection.
pub(in crate::p2p) struct Early {
    protocols: Arc<[StreamProtocol]>,
    waiting: Option<Waiting>,
}

impl Early {
    pub(super) fn new(protocols: &Arc<[StreamProtocol]>) -> Self {
        Self {
            protocols: Arc::clone(protocols),
            waiting: None,
        }
    }

    /// What the other may begin now: nothing, where a stream waits already.
    pub(super) fn offer(&self) -> Self {
        match self.waiting {
            Some(_) => Self::new(&Arc::from([])),
            None => Self::new(&self.protocols),
        }
    }

    /// Of several that were begun at once, one waits.
    pub(super) fn keep(&mut self, waiting: Waiting) {
        self.waiting.get_or_insert(waiting);
    }

    pub(super) fn take(&mut self) -> Option<Waiting> {
        self.waiting.take()
    }
}

impl UpgradeInfo for Early {
    type Info = StreamProtocol;
    type InfoIter = Vec<StreamProtocol>;

    fn protocol_info(&self) -> Vec<StreamProtocol> {
        self.protocols.to_vec()
    }
}

impl InboundUpgrade<Stream> for Early {
    type Output = Waiting;
    type Error = Infallible;
    type Future = Ready<Result<Waiting, Infallible>>;

    fn upgrade_inbound(self, stream: Stream, protocol: StreamProtocol) -> Self::Future {
        ready(Ok((stream, protocol)))
    }
}
