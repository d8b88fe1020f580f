//! The one stream of every connection on which both sides prove who they are. Whoever called begins it.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::task::{Context, Poll, Waker};

use libp2p::core::Endpoint;
use libp2p::core::transport::PortUse;
use libp2p::core::upgrade::ReadyUpgrade;
use libp2p::swarm::handler::{ConnectionEvent, FullyNegotiatedInbound, FullyNegotiatedOutbound};
use libp2p::swarm::{
    ConnectionDenied, ConnectionHandler, ConnectionHandlerEvent, ConnectionId, FromSwarm, NetworkBehaviour,
    SubstreamProtocol, THandler, THandlerInEvent, THandlerOutEvent, ToSwarm,
};
use libp2p::{Multiaddr, PeerId, Stream, StreamProtocol};

const PROTOCOL: StreamProtocol = StreamProtocol::new("/edge-hive/proof/1");

/// A stream for a proof.
#[derive(Debug)]
pub(in crate::p2p) struct Knock {
    pub(in crate::p2p) peer: PeerId,
    pub(in crate::p2p) connection: ConnectionId,
    pub(in crate::p2p) stream: Stream,
    /// Whether we called.
    pub(in crate::p2p) is_ours: bool,
}

/// Gives each connection its stream.
#[derive(Default)]
pub(in crate::p2p) struct Knocks {
    heard: VecDeque<Knock>,
    waker: Option<Waker>,
}

impl NetworkBehaviour for Knocks {
    type ConnectionHandler = Door;
    type ToSwarm = Knock;

    fn handle_established_inbound_connection(
        &mut self,
        _: ConnectionId,
        _: PeerId,
        _: &Multiaddr,
        _: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        Ok(Door::new(false))
    }

    fn handle_established_outbound_connection(
        &mut self,
        _: ConnectionId,
        _: PeerId,
        _: &Multiaddr,
        role: Endpoint,
        _: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        // Where both dial at once (a hole is punched), one of them is to listen.
        Ok(Door::new(role.is_dialer()))
    }

    fn on_swarm_event(&mut self, _: FromSwarm<'_>) {}

    fn on_connection_handler_event(
        &mut self,
        peer: PeerId,
        connection: ConnectionId,
        (stream, is_ours): THandlerOutEvent<Self>,
    ) {
        self.heard.push_back(Knock {
            peer,
            connection,
            stream,
            is_ours,
        });
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<ToSwarm<Self::ToSwarm, THandlerInEvent<Self>>> {
        if let Some(knock) = self.heard.pop_front() {
            return Poll::Ready(ToSwarm::GenerateEvent(knock));
        }
        self.waker = Some(cx.waker().clone());
        Poll::Pending
    }
}

/// One connection.
pub(in crate::p2p) struct Door {
    is_ours: bool,
    /// A connection has one such stream, whatever the other tries.
    has_stream: bool,
    heard: Option<Stream>,
    waker: Option<Waker>,
}

impl Door {
    fn new(is_ours: bool) -> Self {
        Self {
            is_ours,
            has_stream: false,
            heard: None,
            waker: None,
        }
    }

    fn hear(&mut self, stream: Stream) {
        self.heard = Some(stream);
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}

impl ConnectionHandler for Door {
    type FromBehaviour = Infallible;
    type ToBehaviour = (Stream, bool);
    type InboundProtocol = ReadyUpgrade<StreamProtocol>;
    type OutboundProtocol = ReadyUpgrade<StreamProtocol>;
    type InboundOpenInfo = ();
    type OutboundOpenInfo = ();

    fn listen_protocol(&self) -> SubstreamProtocol<Self::InboundProtocol> {
        SubstreamProtocol::new(ReadyUpgrade::new(PROTOCOL), ())
    }

    fn on_behaviour_event(&mut self, event: Self::FromBehaviour) {
        match event {}
    }

    fn poll(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<ConnectionHandlerEvent<Self::OutboundProtocol, (), Self::ToBehaviour>> {
        if let Some(stream) = self.heard.take() {
            let heard = (stream, self.is_ours);
            return Poll::Ready(ConnectionHandlerEvent::NotifyBehaviour(heard));
        }
        if self.is_ours && !self.has_stream {
            self.has_stream = true;
            let protocol = SubstreamProtocol::new(ReadyUpgrade::new(PROTOCOL), ());
            return Poll::Ready(ConnectionHandlerEvent::OutboundSubstreamRequest { protocol });
        }
        self.waker = Some(cx.waker().clone());
        Poll::Pending
    }

    fn on_connection_event(
        &mut self,
        event: ConnectionEvent<'_, Self::InboundProtocol, Self::OutboundProtocol>,
    ) {
        match event {
            ConnectionEvent::FullyNegotiatedInbound(FullyNegotiatedInbound { protocol, .. })
                if !self.is_ours && !self.has_stream =>
            {
                self.has_stream = true;
                self.hear(protocol);
            }
            ConnectionEvent::FullyNegotiatedOutbound(FullyNegotiatedOutbound { protocol, .. }) => {
                self.hear(protocol);
            }
            // A second stream is dropped; a peer that does not know the protocol proves nothing, and is let go in time.
            _ => {}
        }
    }
}
