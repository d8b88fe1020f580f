//! The task that watches one upstream: starts it, keeps what it has up to date, starts it again when it ended.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use super::link::{self, Link};
use super::{Stage, Upstream, catalogue, follow};

/// The first wait before a server is started again; each is twice as long as the one before.
const FIRST_WAIT: Duration = Duration::from_secs(1);
/// The longest wait. Nothing is added at random: there is one node for each server.
const LONGEST_WAIT: Duration = Duration::from_secs(60);
/// A server that was there for this long gets the first wait again.
const STEADY: Duration = Duration::from_secs(60);
/// A server that changes all the time is asked so often for what it has.
const SETTLES: Duration = Duration::from_millis(500);

/// Until `ending`.
pub(super) async fn run(upstream: Arc<Upstream>, ending: CancellationToken) {
    let mut wait = FIRST_WAIT;
    let mut newest_first = true;
    loop {
        let began = Instant::now();
        let fault = live(&upstream, newest_first, &ending).await;
        if ending.is_cancelled() {
            return;
        }
        let was_up = upstream.is_up();
        if was_up && began.elapsed() >= STEADY {
            wait = FIRST_WAIT;
        }
        // A server that ends when it is asked for the newest revision gets the older greeting the next time.
        newest_first = was_up || !newest_first;
        tracing::warn!(
            upstream = upstream.name(),
            fault,
            again_after_seconds = wait.as_secs(),
            "an upstream server is not available"
        );
        upstream.stage.send_replace(Stage::Down { fault: fault.into() });
        tokio::select! {
            () = sleep(wait) => {}
            () = ending.cancelled() => return,
        }
        upstream.restarts.fetch_add(1, Ordering::Relaxed);
        wait = (wait * 2).min(LONGEST_WAIT);
    }
}

/// One life of the server, and why it ended.
async fn live(upstream: &Upstream, newest_first: bool, ending: &CancellationToken) -> String {
    let connected = tokio::select! {
        connected = link::connect(upstream, newest_first) => connected,
        () = ending.cancelled() => return String::new(),
    };
    let connection = match connected {
        Ok(connection) => connection,
        Err(fault) => return fault,
    };
    let link = Arc::clone(&connection.link);
    let lived = async {
        upstream.refresh(&link).await?;
        tracing::info!(
            upstream = upstream.name(),
            revision = link.revision(),
            tools = upstream.catalogue.load().tools.len(),
            "an upstream server is there"
        );
        upstream.stage.send_replace(Stage::Up(Arc::clone(&link)));
        tokio::join!(
            follow::listen(upstream, &link),
            keep(upstream, &link),
            follow::subscribe(upstream, &link)
        );
        Ok(())
    };
    let cut = link.cut.clone();
    let mut ended = Box::pin(connection.ended());
    let fault = tokio::select! {
        lived = lived => lived.err(),
        () = &mut ended => return "it ended".to_owned(),
        () = cut.cancelled() => Some("it does not answer any more".to_owned()),
        () = ending.cancelled() => None,
    };
    cut.cancel();
    ended.await;
    fault.unwrap_or_default()
}

/// Asks again for what the server has, whenever it says that this is other now.
async fn keep(upstream: &Upstream, link: &Link) {
    loop {
        link.changed.notified().await;
        sleep(SETTLES).await;
        if let Err(fault) = upstream.refresh(link).await {
            tracing::warn!(upstream = upstream.name(), fault, "a changed list cannot be read");
        }
    }
}

impl Upstream {
    /// Asks for everything that the server has.
    async fn refresh(&self, link: &Link) -> Result<(), String> {
        let catalogue = catalogue::fetch(link, &self.config, &self.names).await?;
        let changes = catalogue.differences(&self.catalogue.load());
        self.catalogue.store(Arc::new(catalogue));
        for change in changes {
            self.news.tell(change);
        }
        Ok(())
    }
}
