//! A balancer with no mind of its own: every connection goes to the next of its targets.

use std::io::copy;
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

/// Listens on a loopback port for as long as the test program runs.
pub struct Balancer {
    /// Its port.
    pub port: u16,
    served: Arc<[AtomicUsize]>,
}

impl Balancer {
    /// Starts to listen. A client that opens a connection per request meets another target with each.
    ///
    /// # Panics
    /// When no port is free.
    #[must_use]
    pub fn start(targets: Vec<u16>) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let served: Arc<[AtomicUsize]> = targets.iter().map(|_| AtomicUsize::new(0)).collect();
        let counts = Arc::clone(&served);
        thread::spawn(move || {
            for (turn, client) in listener.incoming().enumerate() {
                let next = turn % targets.len();
                let target = client.and_then(|client| {
                    let server = TcpStream::connect(("127.0.0.1", targets[next]))?;
                    Ok((client, server))
                });
                // A connection that fails is the client's to notice, as with any balancer.
                if let Ok((client, server)) = target {
                    counts[next].fetch_add(1, Ordering::Relaxed);
                    join(client, server);
                }
            }
        });
        Self { port, served }
    }

    /// How many connections each target got.
    #[must_use]
    pub fn served(&self) -> Vec<usize> {
        self.served
            .iter()
            .map(|count| count.load(Ordering::Relaxed))
            .collect()
    }
}

fn join(client: TcpStream, server: TcpStream) {
    let pairs = [
        (client.try_clone().unwrap(), server.try_clone().unwrap()),
        (server, client),
    ];
    for (mut from, mut to) in pairs {
        thread::spawn(move || {
            // An end of one side is passed on; whatever else goes wrong ends both.
            copy(&mut from, &mut to).ok();
            to.shutdown(Shutdown::Write).ok();
        });
    }
}
