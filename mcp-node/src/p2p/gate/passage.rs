//! The gate in one connection.

use std::fmt;
use std::task::{Context, Poll, Waker};

use either::Either;
use libp2p::core::upgrade::DeniedUpgrade;
use libp2p::futures::future;
use libp2p::swarm::handler::{
    ConnectionEvent, DialUpgradeError, FullyNegotiatedInbound, FullyNegotiatedOutbound, ListenUpgradeError,
    SendWrapper,
};
use libp2p::swarm::{ConnectionHandler, ConnectionHandlerEvent, SubstreamProtocol};
use tokio::sync::oneshot;

/// A connection, with or without what is behind the gate.
pub(in crate::p2p) struct Passage<H> {
    inner: Option<H>,
    /// Whether we begin streams ourselves.
    begins: bool,
    waker: Option<Waker>,
}

/// What the gate says to a connection.
pub(in crate::p2p) enum Passed<H: ConnectionHandler> {
    /// Takes what the other begins.
    Open(Box<H>, oneshot::Sender<()>),
    /// Begins too.
    Begin,
    /// Something for what is behind the gate.
    Inner(H::FromBehaviour),
}

impl<H: ConnectionHandler> fmt::Debug for Passed<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Open(..) => "Open",
            Self::Begin => "Begin",
            Self::Inner(_) => "Inner",
        })
    }
}

impl<H> Passage<H> {
    pub(super) fn closed() -> Self {
        Self {
            inner: None,
            begins: false,
            waker: None,
        }
    }
}

type Inbound<H> = Either<SendWrapper<<H as ConnectionHandler>::InboundProtocol>, SendWrapper<DeniedUpgrade>>;
type InboundInfo<H> = Either<<H as ConnectionHandler>::InboundOpenInfo, ()>;

impl<H: ConnectionHandler> ConnectionHandler for Passage<H> {
    type FromBehaviour = Passed<H>;
    type ToBehaviour = H::ToBehaviour;
    type InboundProtocol = Inbound<H>;
    type OutboundProtocol = H::OutboundProtocol;
    type InboundOpenInfo = InboundInfo<H>;
    type OutboundOpenInfo = H::OutboundOpenInfo;

    fn listen_protocol(&self) -> SubstreamProtocol<Self::InboundProtocol, Self::InboundOpenInfo> {
        match &self.inner {
            Some(inner) => inner
                .listen_protocol()
                .map_upgrade(|upgrade| Either::Left(SendWrapper(upgrade)))
                .map_info(Either::Left),
            None => SubstreamProtocol::new(Either::Right(SendWrapper(DeniedUpgrade)), Either::Right(())),
        }
    }

    /// Whoever has not proven anything in time is disconnected by the task, and whoever has may stay.
    fn connection_keep_alive(&self) -> bool {
        true
    }

    fn on_behaviour_event(&mut self, event: Self::FromBehaviour) {
        match event {
            Passed::Open(handler, opened) => {
                self.inner = Some(*handler);
                // Nobody may be waiting any more.
                opened.send(()).ok();
            }
            Passed::Begin => self.begins = true,
            Passed::Inner(event) => {
                if let Some(inner) = &mut self.inner {
                    inner.on_behaviour_event(event);
                }
            }
        }
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    fn poll(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<ConnectionHandlerEvent<Self::OutboundProtocol, Self::OutboundOpenInfo, Self::ToBehaviour>> {
        match &mut self.inner {
            Some(inner) if self.begins => inner.poll(cx),
            _ => {
                self.waker = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }

    fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<Option<Self::ToBehaviour>> {
        match &mut self.inner {
            Some(inner) => inner.poll_close(cx),
            None => Poll::Ready(None),
        }
    }

    fn on_connection_event(
        &mut self,
        event: ConnectionEvent<
            '_,
            Self::InboundProtocol,
            Self::OutboundProtocol,
            Self::InboundOpenInfo,
            Self::OutboundOpenInfo,
        >,
    ) {
        let Some(inner) = &mut self.inner else {
            return;
        };
        let event = match event {
            ConnectionEvent::FullyNegotiatedInbound(stream) => match inbound::<H>(stream) {
                Some(stream) => ConnectionEvent::FullyNegotiatedInbound(stream),
                None => return,
            },
            ConnectionEvent::ListenUpgradeError(fault) => match listen_fault::<H>(fault) {
                Some(fault) => ConnectionEvent::ListenUpgradeError(fault),
                None => return,
            },
            ConnectionEvent::FullyNegotiatedOutbound(FullyNegotiatedOutbound { protocol, info }) => {
                ConnectionEvent::FullyNegotiatedOutbound(FullyNegotiatedOutbound { protocol, info })
            }
            ConnectionEvent::DialUpgradeError(DialUpgradeError { info, error }) => {
                ConnectionEvent::DialUpgradeError(DialUpgradeError { info, error })
            }
            ConnectionEvent::AddressChange(change) => ConnectionEvent::AddressChange(change),
            ConnectionEvent::LocalProtocolsChange(change) => ConnectionEvent::LocalProtocolsChange(change),
            ConnectionEvent::RemoteProtocolsChange(change) => ConnectionEvent::RemoteProtocolsChange(change),
            _ => return,
        };
        inner.on_connection_event(event);
    }
}

/// A stream that was begun while the gate was closed has no protocol, and so never comes here.
fn inbound<H: ConnectionHandler>(
    stream: FullyNegotiatedInbound<Inbound<H>, InboundInfo<H>>,
) -> Option<FullyNegotiatedInbound<H::InboundProtocol, H::InboundOpenInfo>> {
    match (stream.protocol, stream.info) {
        (future::Either::Left(protocol), Either::Left(info)) => {
            Some(FullyNegotiatedInbound { protocol, info })
        }
        _ => None,
    }
}

fn listen_fault<H: ConnectionHandler>(
    fault: ListenUpgradeError<InboundInfo<H>, Inbound<H>>,
) -> Option<ListenUpgradeError<H::InboundOpenInfo, H::InboundProtocol>> {
    match (fault.error, fault.info) {
        (Either::Left(error), Either::Left(info)) => Some(ListenUpgradeError { info, error }),
        _ => None,
    }
}
