//! The walk of `docs/deploy.md`, as an operator and an agent on this machine would do it.

use std::path::PathBuf;
use std::time::Instant;

use serde_json::{Value, json};
use xtask::shell::{self, say};
use xtask::{Explain, Fault, Outcome, journey};

use super::engine::Fleet;
use super::within;
use crate::program_files;

/// The nodes, and the variables with their ports.
const NODES: [(&str, &str); 3] = [
    ("north", "NORTH_PORT"),
    ("south", "SOUTH_PORT"),
    ("west", "WEST_PORT"),
];
/// Two servers, three nodes and the balancer.
const TARGETS: usize = 6;

pub(super) struct Walk<'a> {
    fleet: &'a Fleet<'a>,
    /// The fleet's authority, in a file.
    ca: PathBuf,
    /// `id:secret` of the agent.
    client: String,
}

/// An answer.
struct Answer {
    status: u16,
    body: String,
}

impl Answer {
    fn json(&self) -> Outcome<Value> {
        let Self { status, body } = self;
        if *status != 200 {
            return Err(Fault::new(format!("expected 200, got {status}: {body}")));
        }
        // One event of a stream is an answer too.
        let text = body
            .lines()
            .find_map(|line| line.strip_prefix("data: "))
            .unwrap_or(body);
        serde_json::from_str(text).explain(format!("no JSON: {body}"))
    }
}

impl<'a> Walk<'a> {
    /// An agent with a client of its own, and the authority that it trusts.
    pub(super) fn new(fleet: &'a Fleet<'a>) -> Outcome<Self> {
        let folder = program_files::target_folder()?.join("xtask");
        std::fs::create_dir_all(&folder)?;
        let ca = folder.join("compose-ca.pem");
        std::fs::write(&ca, fleet.exec("balancer", &["cat", "/tls/ca.pem"])?)?;
        // At the other server than the one that made the invites: what one knows, both know.
        let line = [
            "authz-server",
            "client",
            "create",
            "--name",
            "walk",
            "--scopes",
            "mcp:read mcp:call",
            "--json",
        ];
        let mut made = Value::Null;
        within("the second server makes a client", || {
            made = serde_json::from_str(&fleet.exec("server-2", &line)?)?;
            Ok(true)
        })?;
        let member = |name: &str| {
            made[name]
                .as_str()
                .map(str::to_owned)
                .explain(format!("no {name}"))
        };
        let client = format!("{}:{}", member("client_id")?, member("client_secret")?);
        Ok(Self { fleet, ca, client })
    }

    pub(super) fn all(&self, started: Instant, without: &[String]) -> Outcome<()> {
        let token = self.discover_and_call("north", started)?;
        self.find_each_other()?;
        self.revoke(&token)?;
        self.lose_a_server()?;
        if !without.iter().any(|service| service == "prometheus") {
            self.measured()?;
        }
        if !without.iter().any(|service| service == "grafana") {
            self.shown()?;
        }
        Ok(())
    }

    fn discover_and_call(&self, node: &str, started: Instant) -> Outcome<String> {
        let url = self.url(node)?;
        say(format!("1. An agent that knows {url} and its own credentials"));
        within("the node is ready", || {
            Ok(self.curl(&url.replace("/mcp", "/readyz"), &[])?.status == 200)
        })?;
        let refused = self.call(node, None)?;
        if refused.status != 401 {
            return Err(Fault::new(format!("a call without token got {}", refused.status)));
        }
        let about = url.replace("/mcp", "/.well-known/oauth-protected-resource/mcp");
        let metadata = self.curl(&about, &[])?.json()?;
        let issuer = metadata["authorization_servers"][0]
            .as_str()
            .explain("no issuer")?
            .to_owned();
        let server = self
            .curl(&format!("{issuer}/.well-known/oauth-authorization-server"), &[])?
            .json()?;
        if metadata["resource"] != url.as_str() || server["issuer"] != issuer.as_str() {
            return Err(Fault::new(format!(
                "the metadata are others': {metadata} {server}"
            )));
        }
        let token = self.token(node)?;
        let answer = self.call(node, Some(&token))?.json()?;
        if answer["result"]["isError"] == true || answer["result"].is_null() {
            return Err(Fault::new(format!("the tool call failed: {answer}")));
        }
        say(format!(
            "   challenge, discovery, token, tool call: done {:.0} s after `up`",
            started.elapsed().as_secs_f64()
        ));
        Ok(token)
    }

    fn find_each_other(&self) -> Outcome<()> {
        for (node, _) in NODES {
            within(&format!("{node} is connected with both others"), || {
                let peers = self.fleet.exec(node, &["mcp-node", "peers", "list", "--json"])?;
                let peers: Vec<Value> = serde_json::from_str(&peers)?;
                let connected = peers.iter().filter(|peer| peer["state"] == "connected").count();
                Ok(connected == NODES.len() - 1)
            })?;
        }
        say("2. Each node is connected with both others (`mcp-node peers list`)");
        Ok(())
    }

    fn revoke(&self, token: &str) -> Outcome<()> {
        let fresh = self.token("north")?;
        let url = format!("{}/oauth/revoke", self.issuer()?);
        let form = format!("token={token}");
        let answer = self.curl(&url, &["--user", &self.client, "--data", &form])?;
        if answer.status != 200 {
            return Err(Fault::new(format!(
                "revocation got {}: {}",
                answer.status, answer.body
            )));
        }
        let start = Instant::now();
        within("the node refuses the revoked token", || {
            Ok(self.call("north", Some(token))?.status == 401)
        })?;
        let seconds = start.elapsed().as_secs_f64();
        self.call("north", Some(&fresh))?.json()?;
        say(format!(
            "3. A revoked token is refused after {seconds:.1} s, another one is not"
        ));
        Ok(())
    }

    fn lose_a_server(&self) -> Outcome<()> {
        shell::read(&mut self.fleet.compose(&["stop", "--timeout", "10", "server-1"]))?;
        within("the other server gives tokens", || {
            let token = self.token("south")?;
            Ok(self.call("south", Some(&token))?.status == 200)
        })?;
        shell::read(&mut self.fleet.compose(&["start", "server-1"]))?;
        say("4. With one of the servers stopped, tokens are given all the same");
        Ok(())
    }

    fn measured(&self) -> Outcome<()> {
        let base = format!("http://localhost:{}", self.fleet.port("PROMETHEUS_PORT")?);
        within("Prometheus reaches everything", || {
            let answer = self
                .curl(&format!("{base}/api/v1/targets?state=active"), &[])?
                .json()?;
            let targets = answer["data"]["activeTargets"].as_array().explain("no targets")?;
            let up = targets.iter().filter(|target| target["health"] == "up").count();
            Ok(up == TARGETS && targets.len() == TARGETS)
        })?;
        within("the calls are counted", || {
            let query = "query=sum(edge_hive_node_tool_calls_total)";
            let answer = self
                .curl(&format!("{base}/api/v1/query"), &["--data-urlencode", query])?
                .json()?;
            let value = answer["data"]["result"][0]["value"][1].as_str();
            Ok(value.is_some_and(|value| value != "0"))
        })?;
        let rules = self.curl(&format!("{base}/api/v1/rules"), &[])?.json()?;
        if rules["data"]["groups"][0]["name"] != "edge-hive" {
            return Err(Fault::new(format!("Prometheus has other rules: {rules}")));
        }
        say(format!(
            "5. Prometheus scrapes {TARGETS} targets and has the rules"
        ));
        Ok(())
    }

    fn shown(&self) -> Outcome<()> {
        let base = format!("http://localhost:{}", self.fleet.port("GRAFANA_PORT")?);
        within("Grafana has the dashboard", || {
            let answer = self
                .curl(&format!("{base}/api/dashboards/uid/edge-hive"), &[])?
                .json()?;
            Ok(answer["dashboard"]["title"] == "Edge Hive Auth")
        })?;
        say("6. Grafana has the dashboard");
        Ok(())
    }

    fn url(&self, node: &str) -> Outcome<String> {
        let (_, variable) = NODES
            .iter()
            .find(|(name, _)| *name == node)
            .explain("no such node")?;
        Ok(format!(
            "https://{node}.localhost:{}/mcp",
            self.fleet.port(variable)?
        ))
    }

    fn issuer(&self) -> Outcome<String> {
        Ok(format!(
            "https://auth.localhost:{}",
            self.fleet.port("AUTH_PORT")?
        ))
    }

    fn token(&self, node: &str) -> Outcome<String> {
        let form = format!(
            "grant_type=client_credentials&scope=mcp:read+mcp:call&resource={}",
            self.url(node)?
        );
        let url = format!("{}/oauth/token", self.issuer()?);
        let answer = self
            .curl(&url, &["--user", &self.client, "--data", &form])?
            .json()?;
        answer["access_token"]
            .as_str()
            .map(str::to_owned)
            .explain("no token")
    }

    /// One call of a tool as MCP 2026-07-28 writes it.
    fn call(&self, node: &str, token: Option<&str>) -> Outcome<Answer> {
        let body = json!({
            "jsonrpc": "2.0", "id": 1, "method": "tools/call",
            "params": {"name": "get_status", "arguments": {}, "_meta": {
                "io.modelcontextprotocol/protocolVersion": journey::REVISION,
                "io.modelcontextprotocol/clientCapabilities": {},
            }},
        });
        let (body, revision) = (
            body.to_string(),
            format!("MCP-Protocol-Version: {}", journey::REVISION),
        );
        let mut words = vec![
            "--data",
            &body,
            "--header",
            "Content-Type: application/json",
            "--header",
            &revision,
        ];
        words.extend(["--header", "Accept: application/json, text/event-stream"]);
        words.extend([
            "--header",
            "Mcp-Method: tools/call",
            "--header",
            "Mcp-Name: get_status",
        ]);
        let bearer = token.map(|token| format!("Authorization: Bearer {token}"));
        if let Some(bearer) = &bearer {
            words.extend(["--header", bearer]);
        }
        self.curl(&self.url(node)?, &words)
    }

    fn curl(&self, url: &str, words: &[&str]) -> Outcome<Answer> {
        let mut curl = shell::command("curl");
        curl.args(["--silent", "--show-error", "--max-time", "20", "--noproxy", "*"]);
        curl.args(["--write-out", "\n%{http_code}", "--cacert"])
            .arg(&self.ca);
        let text = shell::read(curl.args(words).arg(url))?;
        let (body, status) = text.rsplit_once('\n').explain("no status")?;
        Ok(Answer {
            status: status.parse().explain("no status")?,
            body: body.to_owned(),
        })
    }
}
