//! A balancer with little mind of its own: every connection goes to the next of its targets that answers.

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
                let Ok(client) = client else { continue };
                // The next one, or else whichever answers. Where none does, the client notices, as with any balancer.
                let open = (0..targets.len()).find_map(|further| {
                    let next = (turn + further) % targets.len();
                    let server = TcpStream::connect(("127.0.0.1", targets[next])).ok()?;
                    Some((next, server))
                });
                if let Some((next, server)) = open {
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
