//! What only proven peers get (P2P-03). The behaviour behind the gate hears nothing of a connection, and the connection
//! offers none of its protocols, until the gate is opened for it.
//!
//! A gate opens in two steps, since both sides open theirs on their own: first what the other begins is taken, then we
//! begin ourselves. Whoever has told the other "you are welcome" took the first step before.

mod early;
mod passage;

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use libp2p::core::transport::PortUse;
use libp2p::core::{ConnectedPoint, Endpoint};
use libp2p::swarm::behaviour::{AddressChange, ConnectionClosed, ConnectionEstablished};
use libp2p::swarm::{
    ConnectionDenied, ConnectionId, FromSwarm, NetworkBehaviour, NotifyHandler, THandler, THandlerInEvent,
    THandlerOutEvent, ToSwarm,
};
use libp2p::{Multiaddr, PeerId, StreamProtocol};
use tokio::sync::oneshot;

use self::early::Early;
use self::passage::{Passage, Passed};

/// The behaviour has no more calls now.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("enough peers are called")]
struct EnoughCalls;

/// A peer with which there is a way through a relay tells us where it can be called directly: of so many addresses at most,
/// which is as many as libp2p itself tells, and so many peers at once. They may all be somebody else's, and silent.
const DIRECT_ADDRESSES: usize = 20;
const DIRECT_CALLS: usize = 4;

/// `B`, for proven peers alone.
pub(super) struct Gate<B: NetworkBehaviour> {
    inner: B,
    /// Protocols of which a stream may wait until the gate is open.
    early: Arc<[StreamProtocol]>,
    connections: HashMap<ConnectionId, Connection>,
    /// Calls that the behaviour wishes to make, and those that go on.
    wished: HashSet<ConnectionId>,
    calls: HashSet<ConnectionId>,
    calls_left: usize,
    /// Those that make a direct connection of one through a relay, and go on.
    direct: HashSet<ConnectionId>,
    notices: VecDeque<(PeerId, ConnectionId, Passed<THandler<B>>)>,
    waker: Option<Waker>,
}

struct Connection {
    peer: PeerId,
    endpoint: ConnectedPoint,
    is_open: bool,
}

impl<B: NetworkBehaviour> Gate<B> {
    /// A gate before `inner`, at which one stream of each connection may wait, if it is of the protocols `early`.
    pub(super) fn before(inner: B, early: Vec<StreamProtocol>) -> Self {
        Self {
            inner,
            early: early.into(),
            connections: HashMap::new(),
            calls: HashSet::new(),
            wished: HashSet::new(),
            calls_left: 0,
            direct: HashSet::new(),
            notices: VecDeque::new(),
            waker: None,
        }
    }

    /// The behaviour behind the gate.
    pub(super) fn inner(&mut self) -> &mut B {
        &mut self.inner
    }

    /// Calls that the behaviour made by itself, and that go on.
    pub(super) fn calls(&self) -> usize {
        self.calls.len()
    }

    /// From now on the behaviour may call so many peers by itself.
    pub(super) fn allow_calls(&mut self, number: usize) {
        self.calls_left = number;
    }

    fn count_call(&mut self, id: ConnectionId, addresses: &[Multiaddr]) -> Result<(), ConnectionDenied> {
        // One with addresses makes a connection that there is already a direct one.
        if addresses.is_empty() {
            let left = self.calls_left.checked_sub(1);
            self.calls_left = left.ok_or_else(|| ConnectionDenied::new(EnoughCalls))?;
            self.calls.insert(id);
        } else if addresses.len() > DIRECT_ADDRESSES || self.direct.len() >= DIRECT_CALLS {
            return Err(ConnectionDenied::new(EnoughCalls));
        } else {
            self.direct.insert(id);
        }
        Ok(())
    }

    fn forget_call(&mut self, id: ConnectionId) {
        self.calls.remove(&id);
        self.direct.remove(&id);
    }

    /// The first step for a connection. `opened` is told once it is done. `false` when there is no such connection, or
    /// the behaviour does not want it.
    pub(super) fn open(&mut self, id: ConnectionId, opened: oneshot::Sender<()>) -> bool {
        let Some(connection) = self.connections.get(&id).filter(|connection| !connection.is_open) else {
            return false;
        };
        let (peer, endpoint) = (connection.peer, connection.endpoint.clone());
        let handler = match &endpoint {
            ConnectedPoint::Dialer {
                address,
                role_override,
                port_use,
            } => self.inner.handle_established_outbound_connection(
                id,
                peer,
                address,
                *role_override,
                *port_use,
            ),
            ConnectedPoint::Listener {
                local_addr,
                send_back_addr,
            } => self
                .inner
                .handle_established_inbound_connection(id, peer, local_addr, send_back_addr),
        };
        let Ok(handler) = handler else {
            return false;
        };
        let other_established = self.open_to(&peer).count();
        if let Some(connection) = self.connections.get_mut(&id) {
            connection.is_open = true;
        }
        self.notify(peer, id, Passed::Open(Box::new(handler), opened));
        self.inner
            .on_swarm_event(FromSwarm::ConnectionEstablished(ConnectionEstablished {
                peer_id: peer,
                connection_id: id,
                endpoint: &endpoint,
                failed_addresses: &[],
                other_established,
            }));
        true
    }

    /// The second step.
    pub(super) fn begin(&mut self, id: ConnectionId) {
        if let Some(connection) = self.connections.get(&id).filter(|connection| connection.is_open) {
            self.notify(connection.peer, id, Passed::Begin);
        }
    }

    fn notify(&mut self, peer: PeerId, id: ConnectionId, notice: Passed<THandler<B>>) {
        self.notices.push_back((peer, id, notice));
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    fn open_to(&self, peer: &PeerId) -> impl Iterator<Item = ConnectionId> {
        self.connections
            .iter()
            .filter(move |(_, connection)| connection.is_open && connection.peer == *peer)
            .map(|(id, _)| *id)
    }

    fn changed(&mut self, change: AddressChange<'_>) {
        let Some(connection) = self.connections.get_mut(&change.connection_id) else {
            return;
        };
        connection.endpoint = change.new.clone();
        if connection.is_open {
            self.inner.on_swarm_event(FromSwarm::AddressChange(change));
        }
    }

    fn closed(&mut self, closed: ConnectionClosed<'_>) {
        let connection = self.connections.remove(&closed.connection_id);
        if connection.is_some_and(|connection| connection.is_open) {
            let remaining_established = self.open_to(&closed.peer_id).count();
            self.inner
                .on_swarm_event(FromSwarm::ConnectionClosed(ConnectionClosed {
                    remaining_established,
                    ..closed
                }));
        }
    }
}

impl<B: NetworkBehaviour> NetworkBehaviour for Gate<B> {
    type ConnectionHandler = Passage<THandler<B>>;
    type ToSwarm = B::ToSwarm;

    fn handle_established_inbound_connection(
        &mut self,
        _: ConnectionId,
        _: PeerId,
        _: &Multiaddr,
        _: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        Ok(Passage::closed(Early::new(&self.early)))
    }

    fn handle_pending_outbound_connection(
        &mut self,
        id: ConnectionId,
        peer: Option<PeerId>,
        addresses: &[Multiaddr],
        role: Endpoint,
    ) -> Result<Vec<Multiaddr>, ConnectionDenied> {
        // The behaviour takes that as a peer that cannot be reached, and goes on without it.
        if self.wished.remove(&id) {
            self.count_call(id, addresses)?;
        }
        self.inner
            .handle_pending_outbound_connection(id, peer, addresses, role)
    }

    fn handle_established_outbound_connection(
        &mut self,
        _: ConnectionId,
        _: PeerId,
        _: &Multiaddr,
        _: Endpoint,
        _: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        Ok(Passage::closed(Early::new(&self.early)))
    }

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        match event {
            FromSwarm::ConnectionEstablished(established) => {
                let connection = Connection {
                    peer: established.peer_id,
                    endpoint: established.endpoint.clone(),
                    is_open: false,
                };
                self.forget_call(established.connection_id);
                self.connections.insert(established.connection_id, connection);
            }
            FromSwarm::DialFailure(failure) => {
                self.forget_call(failure.connection_id);
                self.wished.remove(&failure.connection_id);
                self.inner.on_swarm_event(FromSwarm::DialFailure(failure));
            }
            FromSwarm::ConnectionClosed(event) => self.closed(event),
            FromSwarm::AddressChange(event) => self.changed(event),
            other => self.inner.on_swarm_event(other),
        }
    }

    fn on_connection_handler_event(&mut self, peer: PeerId, id: ConnectionId, event: THandlerOutEvent<Self>) {
        self.inner.on_connection_handler_event(peer, id, event);
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<ToSwarm<Self::ToSwarm, THandlerInEvent<Self>>> {
        // Before anything that the behaviour has to say to a connection that was just opened.
        if let Some((peer_id, id, event)) = self.notices.pop_front() {
            return Poll::Ready(ToSwarm::NotifyHandler {
                peer_id,
                handler: NotifyHandler::One(id),
                event,
            });
        }
        let Poll::Ready(wish) = self.inner.poll(cx) else {
            self.waker = Some(cx.waker().clone());
            return Poll::Pending;
        };
        // "Any" connection means one that is open.
        let wish = match wish {
            ToSwarm::Dial { opts } => {
                self.wished.insert(opts.connection_id());
                ToSwarm::Dial { opts }
            }
            ToSwarm::NotifyHandler {
                peer_id,
                handler: NotifyHandler::Any,
                event,
            } => {
                let open = self.open_to(&peer_id).next();
                ToSwarm::NotifyHandler {
                    peer_id,
                    handler: open.map_or(NotifyHandler::Any, NotifyHandler::One),
                    event,
                }
            }
            other => other,
        };
        Poll::Ready(wish.map_in(Passed::Inner))
    }
}
