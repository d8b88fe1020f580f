//! The gate in one connection.

use std::fmt;
use std::task::{Context, Poll, Waker};

use either::Either;
use libp2p::futures::FutureExt;
use libp2p::futures::future::{self, BoxFuture};
use libp2p::swarm::handler::{
    ConnectionEvent, DialUpgradeError, FullyNegotiatedInbound, FullyNegotiatedOutbound, InboundUpgradeSend,
    ListenUpgradeError, SendWrapper, UpgradeInfoSend,
};
use libp2p::swarm::{ConnectionHandler, ConnectionHandlerEvent, SubstreamProtocol};
use tokio::sync::oneshot;

use super::early::{Early, Waiting};

/// A connection, with or without what is behind the gate.
pub(in crate::p2p) struct Passage<H: ConnectionHandler> {
    inner: Option<H>,
    /// Whether we begin streams ourselves.
    begins: bool,
    early: Early,
    /// A stream that has waited, on its way to what is behind the gate.
    admitted: Option<Admitted<H>>,
    waker: Option<Waker>,
}

struct Admitted<H: ConnectionHandler> {
    info: H::InboundOpenInfo,
    upgrade: BoxFuture<'static, Option<<H::InboundProtocol as InboundUpgradeSend>::Output>>,
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

impl<H: ConnectionHandler> Passage<H> {
    /// Closed; streams of the protocols in `early` may wait at it.
    pub(super) fn closed(early: Early) -> Self {
        Self {
            inner: None,
            begins: false,
            early,
            admitted: None,
            waker: None,
        }
    }

    /// A stream that was begun before the gate was open. Until then nothing of it is read.
    fn came_early(&mut self, waiting: Waiting) {
        self.early.keep(waiting);
        self.admit();
    }

    fn admit(&mut self) {
        let Some(inner) = &self.inner else { return };
        let Some((stream, protocol)) = self.early.take() else {
            return;
        };
        let (upgrade, info) = inner.listen_protocol().into_upgrade();
        let mut spoken = UpgradeInfoSend::protocol_info(&upgrade);
        // What is spoken there no more is dropped.
        if let Some(protocol) = spoken.find(|spoken| spoken.as_ref() == protocol.as_ref()) {
            let upgrade = InboundUpgradeSend::upgrade_inbound(upgrade, stream, protocol);
            self.admitted = Some(Admitted {
                info,
                upgrade: upgrade.map(Result::ok).boxed(),
            });
        }
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    fn poll_admitted(&mut self, cx: &mut Context<'_>) {
        let Some(admitted) = &mut self.admitted else {
            return;
        };
        let Poll::Ready(upgraded) = admitted.upgrade.poll_unpin(cx) else {
            return;
        };
        if let (Some(Admitted { info, .. }), Some(protocol), Some(inner)) =
            (self.admitted.take(), upgraded, &mut self.inner)
        {
            let stream = FullyNegotiatedInbound { protocol, info };
            inner.on_connection_event(ConnectionEvent::FullyNegotiatedInbound(stream));
        }
    }
}

type Inbound<H> = Either<SendWrapper<<H as ConnectionHandler>::InboundProtocol>, SendWrapper<Early>>;
/// A stream for what is behind the gate, or one that was begun while the gate was closed.
type Arrived<H> = Either<
    FullyNegotiatedInbound<
        <H as ConnectionHandler>::InboundProtocol,
        <H as ConnectionHandler>::InboundOpenInfo,
    >,
    Waiting,
>;
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
            None => SubstreamProtocol::new(Either::Right(SendWrapper(self.early.offer())), Either::Right(())),
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
                self.admit();
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
        self.poll_admitted(cx);
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
        let event = match event {
            ConnectionEvent::FullyNegotiatedInbound(stream) => match inbound::<H>(stream) {
                Some(Either::Left(stream)) => ConnectionEvent::FullyNegotiatedInbound(stream),
                Some(Either::Right(waiting)) => return self.came_early(waiting),
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
        if let Some(inner) = &mut self.inner {
            inner.on_connection_event(event);
        }
    }
}

fn inbound<H: ConnectionHandler>(
    stream: FullyNegotiatedInbound<Inbound<H>, InboundInfo<H>>,
) -> Option<Arrived<H>> {
    match (stream.protocol, stream.info) {
        (future::Either::Left(protocol), Either::Left(info)) => {
            Some(Either::Left(FullyNegotiatedInbound { protocol, info }))
        }
        (future::Either::Right(waiting), _) => Some(Either::Right(waiting)),
        // The two come from one place.
        (future::Either::Left(_), Either::Right(())) => None,
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
