//! A way to a server that can be cut for one program and stay open for all others, and that can lose an answer: the
//! network of one machine, as programs on several would see it.

use std::collections::HashSet;
use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

/// Listens on a loopback port for as long as the test program runs.
pub struct Way {
    /// Its port.
    pub port: u16,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    target: u16,
    cut: HashSet<u32>,
    /// By the socket of the client.
    open: Vec<(String, TcpStream)>,
    /// How the request begins whose answer is lost.
    losing: Option<String>,
}

impl Way {
    /// Starts to listen. It leads nowhere yet.
    ///
    /// # Panics
    /// When no port is free.
    #[must_use]
    pub fn new() -> Arc<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let state = Arc::new(Mutex::new(State::default()));
        let shared = Arc::clone(&state);
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let shared = Arc::clone(&shared);
                // Whose it is takes a while to find out; others need not wait for that.
                thread::spawn(move || lead(client, &shared));
            }
        });
        Arc::new(Self { port, state })
    }

    /// From now on every connection goes to this port of the machine.
    ///
    /// # Panics
    /// Never: a poisoned lock is taken as it is.
    pub fn lead_to(&self, target: u16) {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).target = target;
    }

    /// Cuts the way for a program: its connections break, and it gets no new ones.
    ///
    /// # Panics
    /// Never: a poisoned lock is taken as it is.
    pub fn cut(&self, program: u32) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.cut.insert(program);
        let sockets = sockets_of(program);
        state.open.retain(|(socket, connection)| {
            let is_cut = sockets.contains(socket);
            if is_cut {
                connection.shutdown(Shutdown::Both).ok();
            }
            !is_cut
        });
    }

    /// The next request that begins like this reaches the server, and its answer nobody: the connection breaks before.
    ///
    /// # Panics
    /// Never: a poisoned lock is taken as it is.
    pub fn lose_answer_to(&self, head: &str) {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).losing = Some(head.to_owned());
    }

    /// Whether there was such a request.
    ///
    /// # Panics
    /// Never: a poisoned lock is taken as it is.
    #[must_use]
    pub fn has_lost_it(&self) -> bool {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.losing.is_none()
    }

    /// Opens it again.
    ///
    /// # Panics
    /// Never: a poisoned lock is taken as it is.
    pub fn mend(&self, program: u32) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.cut.remove(&program);
    }
}

/// Leads a connection on, unless its program is cut off.
fn lead(client: TcpStream, shared: &Arc<Mutex<State>>) {
    let ends = client.peer_addr().and_then(|own| Ok((own, client.local_addr()?)));
    let Some(socket) = ends.ok().and_then(socket_between) else {
        return;
    };
    loop {
        let (cut, target) = {
            let state = shared.lock().unwrap_or_else(PoisonError::into_inner);
            (state.cut.clone(), state.target)
        };
        if cut.iter().any(|program| sockets_of(*program).contains(&socket)) {
            return;
        }
        let Ok(server) = TcpStream::connect(("127.0.0.1", target)) else {
            return;
        };
        let mut state = shared.lock().unwrap_or_else(PoisonError::into_inner);
        // Somebody may have been cut off since.
        if state.cut == cut {
            state.open.push((socket, client.try_clone().unwrap()));
            drop(state);
            return join(&client, &server, shared);
        }
    }
}

/// The socket that goes from one address to the other (`/proc`, proc(5)). The first alone would not do: others may have the
/// same port, to other places or since a moment ago.
fn socket_between((own, other): (SocketAddr, SocketAddr)) -> Option<String> {
    let [own, other] = [written(own)?, written(other)?];
    let sockets = std::fs::read_to_string("/proc/net/tcp").ok()?;
    let inode = sockets.lines().find_map(|line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let is_it = words.get(1) == Some(&own.as_str()) && words.get(2) == Some(&other.as_str());
        words.get(9).filter(|_| is_it).map(|inode| (*inode).to_owned())
    });
    inode.map(|inode| format!("socket:[{inode}]"))
}

/// An address as `/proc/net/tcp` writes it.
fn written(address: SocketAddr) -> Option<String> {
    let SocketAddr::V4(address) = address else {
        return None;
    };
    let ip = u32::from_le_bytes(address.ip().octets());
    Some(format!("{ip:08X}:{:04X}", address.port()))
}

/// The sockets that a program holds.
fn sockets_of(program: u32) -> HashSet<String> {
    let files = std::fs::read_dir(format!("/proc/{program}/fd"));
    let links = files
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|file| std::fs::read_link(file.path()).ok());
    links
        .filter_map(|link| link.to_str().map(str::to_owned))
        .collect()
}

fn join(client: &TcpStream, server: &TcpStream, shared: &Arc<Mutex<State>>) {
    let both = || (client.try_clone().unwrap(), server.try_clone().unwrap());
    let is_lost = Arc::new(AtomicBool::new(false));
    let ((mut client, mut server), shared, losing) = (both(), Arc::clone(shared), Arc::clone(&is_lost));
    let (mut to, mut from) = both();
    // An end of one side is passed on; whatever else goes wrong ends both.
    thread::spawn(move || {
        let mut bytes = [0; 16 * 1024];
        while let Ok(count @ 1..) = client.read(&mut bytes) {
            let mut state = shared.lock().unwrap_or_else(PoisonError::into_inner);
            // A small request comes whole, and nobody here sends a second one before the answer.
            if state
                .losing
                .as_ref()
                .is_some_and(|head| bytes[..count].starts_with(head.as_bytes()))
            {
                state.losing = None;
                losing.store(true, Ordering::SeqCst);
            }
            drop(state);
            if server.write_all(&bytes[..count]).is_err() {
                break;
            }
        }
        server.shutdown(Shutdown::Write).ok();
    });
    thread::spawn(move || {
        let mut bytes = [0; 16 * 1024];
        while let Ok(count @ 1..) = from.read(&mut bytes) {
            if is_lost.load(Ordering::SeqCst) {
                to.shutdown(Shutdown::Both).ok();
                from.shutdown(Shutdown::Both).ok();
                return;
            }
            if to.write_all(&bytes[..count]).is_err() {
                break;
            }
        }
        to.shutdown(Shutdown::Write).ok();
    });
}
