//! How long a connected node takes a token that was revoked: from the server's answer to the node's refusal.

use std::time::{Duration, Instant};

use xtask::fleet::{self, Node, START, free_port};
use xtask::http::Request;
use xtask::journey;
use xtask::shell::say;
use xtask::{Explain, Fault, Outcome};

use super::rows::{Bench, SCOPES, Target, pinned};

/// A node that takes longer does not learn of revocations at all.
const PATIENCE: Duration = Duration::from_secs(30);

/// The times of one kind of database, in order.
pub(super) struct Delays {
    name: String,
    sorted: Vec<Duration>,
}

impl Delays {
    /// The time within which so many of a hundred are refused.
    fn percentile(&self, percent: usize) -> f64 {
        let last = self.sorted.len().saturating_sub(1);
        let at = (self.sorted.len() * percent / 100).min(last);
        self.sorted
            .get(at)
            .map_or(0.0, |delay| delay.as_secs_f64() * 1000.0)
    }

    pub(super) fn print(&self) {
        say(format!(
            "{:<34} {} tokens, refused by the node after: p50 {:.0} ms, p99 {:.0} ms, worst {:.0} ms",
            self.name,
            self.sorted.len(),
            self.percentile(50),
            self.percentile(99),
            self.percentile(100),
        ));
    }
}

impl Bench {
    /// The times on both databases, unless other rows are asked for.
    pub(super) fn revocations(&self) -> Outcome<Vec<Delays>> {
        let mut all = Vec::new();
        for postgres in [false, true] {
            let database = if postgres { "Postgres" } else { "SQLite" };
            let name = format!("revocation, {database}");
            if self.only.as_ref().is_none_or(|part| name.contains(part)) {
                say(format!("measuring {name} …"));
                let sorted = self.delays(postgres).explain(&name)?;
                all.push(Delays { name, sorted });
            }
        }
        Ok(all)
    }

    fn delays(&self, postgres: bool) -> Outcome<Vec<Duration>> {
        let target = self.start(postgres)?;
        let mut node = Node::new(
            self.programs.mcp_node.clone(),
            &self.folder.join("node"),
            free_port()?,
            &target.server.issuer,
        );
        node.extra.push_str(fleet::UNLIMITED_NODE);
        node.write_config()?;
        target.server.ensure_resource(&node.url(), &[])?;
        let mut program = node.serve_under(pinned(&node.program))?;
        program.wait_ready(&format!("http://localhost:{}/readyz", node.port), START)?;
        let mut delays = Vec::with_capacity(self.tokens);
        for _ in 0..self.tokens {
            delays.push(delay(&target, &node)?);
        }
        delays.sort_unstable();
        Ok(delays)
    }
}

fn delay(target: &Target, node: &Node) -> Outcome<Duration> {
    let token = journey::fetch_token(&target.endpoint("token"), &target.client, &node.url(), SCOPES)?;
    let call = || journey::tool_call(&node.url(), "get_status", &serde_json::json!({}), Some(&token));
    let first = call()?;
    if first.status != 200 {
        return Err(Fault::new(format!("a good token was answered with {first}")));
    }
    let revoked = Request::post(&target.endpoint("revoke"))?
        .basic(&target.client.id, &target.client.secret)
        .form(&[("token", &token)])
        .send()?;
    if revoked.status != 200 {
        return Err(Fault::new(format!("revoking was answered with {revoked}")));
    }
    let start = Instant::now();
    while call()?.status != 401 {
        if start.elapsed() > PATIENCE {
            return Err(Fault::new("the node takes the revoked token still"));
        }
    }
    Ok(start.elapsed())
}
