//! The verdict on each client, from what was seen.

use std::net::IpAddr;
use std::time::Duration;

use shared::http_client::special_purpose;
use url::{Host, Url};

use super::clients::{Insists, RealClient, Way};
use super::play::Played;
use super::seen::{SeenNode, SeenServer};
use super::{Diagnosis, Finding, Verdict};

/// Hosted clients give up on discovery, registration and token after ten seconds altogether.
const SLOW: Duration = Duration::from_secs(3);

/// What concerns every client.
pub(super) fn everybody(server: &SeenServer, node: Option<&SeenNode>) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut find = |what: String, fix: &str| findings.push(Finding::new(what, fix));
    match &server.metadata {
        Err(reason) => find(
            format!("the server's metadata cannot be had: {reason}"),
            "serve it at this address; a proxy before it must pass on /.well-known/",
        ),
        Ok(_) => {
            let named = server.text("issuer").unwrap_or_default();
            if named.trim_end_matches('/') != server.issuer() {
                find(
                    format!(
                        "the server is asked as {}, and calls itself {named:?}: clients refuse that (RFC 8414 §3.3)",
                        server.issuer()
                    ),
                    "set server.issuer of the server, and issuer.url of the node, to the address by which clients reach it",
                );
            }
            if !server.lists("code_challenge_methods_supported", "S256") {
                find(
                    "the server does not list S256: MCP clients must not go on".to_owned(),
                    "it has to offer PKCE with S256",
                );
            }
            if server.took > SLOW {
                find(
                    format!("the server's metadata took {:.1} s", server.took.as_secs_f64()),
                    "hosted clients give up after ten seconds for all of their questions together",
                );
            }
        }
    }
    if let Some(node) = node {
        of_node(node, &mut find);
    }
    findings
}

fn of_node(node: &SeenNode, find: &mut impl FnMut(String, &str)) {
    match &node.call {
        Err(reason) => find(
            format!("the node cannot be called: {reason}"),
            "start it; check the address, its certificate and what stands before it",
        ),
        Ok(401) => {
            if node.named.is_none() {
                find(
                    "the node's challenge has no resource_metadata (RFC 9728 §5.1)".to_owned(),
                    "a proxy must pass on WWW-Authenticate as it is",
                );
            }
        }
        Ok(status) => find(
            format!(
                "a call without a token is answered with status {status}, not 401: clients do not begin to sign in"
            ),
            "is this the address of MCP, and does what stands before the node pass its answers on?",
        ),
    }
    match &node.metadata {
        Err(reason) => find(
            format!("the node's metadata cannot be had: {reason}"),
            "a proxy before the node must pass on /.well-known/oauth-protected-resource",
        ),
        Ok(metadata) => {
            let resource = metadata
                .get("resource")
                .and_then(|value| value.as_str())
                .unwrap_or_default();
            if resource != node.url.as_str() && resource != node.url.as_str().trim_end_matches('/') {
                find(
                    format!(
                        "the node is called at {}, and calls itself {resource:?}: clients refuse that (RFC 9728 §3.3)",
                        node.url
                    ),
                    "set server.resource of the node to the address by which clients call it",
                );
            }
            if node.first_server().is_none() {
                find(
                    "the node's metadata name no authorization server that can be asked".to_owned(),
                    "set issuer.url of the node",
                );
            }
        }
    }
}

/// The verdict on a client that asks from where the deployment is not reached.
pub(super) fn out_of_reach(
    real: &RealClient,
    (server, node): (&SeenServer, Option<&SeenNode>),
) -> Option<Diagnosis> {
    let addresses = [server.issuer().parse().ok(), node.map(|node| node.url.clone())];
    let hidden = addresses
        .into_iter()
        .flatten()
        .find(|url| real.is_hosted && !is_public(url))?;
    let what = format!("it asks from its maker's network, where {hidden} leads nowhere");
    let fix = "give the deployment a public https address, if this client shall use it";
    Some(Diagnosis {
        client: real.name,
        verdict: Verdict::OutOfReach,
        findings: vec![Finding::new(what, fix)],
    })
}

/// How `real` would fare.
pub(super) fn judge(
    real: &RealClient,
    (server, node): (&SeenServer, Option<&SeenNode>),
    played: Played,
) -> Diagnosis {
    let diagnosis = |verdict, findings| Diagnosis {
        client: real.name,
        verdict,
        findings,
    };
    if !everybody(server, node).is_empty() {
        let fix = "mend what is said of the deployment first";
        return diagnosis(
            Verdict::Fails,
            vec![Finding::new("what every client needs is not there", fix)],
        );
    }
    let (fatal, mut findings) = insisted(real, server, node);
    let verdict = match played.way {
        _ if fatal => Verdict::Fails,
        Some(_) => Verdict::Works,
        None => Verdict::WithClientId,
    };
    // What another way ended with is of interest only when none led on.
    if played.way.is_none() {
        findings.extend(played.findings);
        let command = format!(
            "create one for it: client create --name \"{}\" --public --redirect-uri {}",
            real.name, real.redirect_uri
        );
        findings.push(Finding::new(
            "it cannot make itself known, and needs the id of a client",
            command,
        ));
    } else if let (Some(Way::Registration), Some(first)) = (played.way, real.ways.first())
        && *first != Way::Registration
    {
        findings.extend(played.findings);
    }
    diagnosis(verdict, findings)
}

/// What it insists on and does not find; and whether it ends there.
fn insisted(real: &RealClient, server: &SeenServer, node: Option<&SeenNode>) -> (bool, Vec<Finding>) {
    let mut findings = Vec::new();
    let mut fatal = false;
    for insists in real.insists {
        let (is_fatal, finding) = match insists {
            Insists::Issuer if !server.says("authorization_response_iss_parameter_supported") => (
                true,
                Finding::new("the server does not promise iss in its answers (RFC 9207)", ""),
            ),
            Insists::Offline if !server.lists("scopes_supported", "offline_access") => (
                false,
                Finding::new(
                    "the server does not list offline_access: it has people sign in again when their token ends",
                    "",
                ),
            ),
            Insists::Browser if !server.is_open || !server.token_is_open => (
                true,
                Finding::new(
                    "it is a page, and the server does not let pages of other origins ask (CORS)",
                    "a proxy must pass on OPTIONS and the Access-Control headers",
                ),
            ),
            Insists::Browser if node.is_some_and(|node| !node.is_open) => (
                true,
                Finding::new(
                    "it is a page, and the node does not let this page call it (CORS)",
                    "put http://localhost:6274 into server.allowed_origins of the node, and let a proxy pass on OPTIONS",
                ),
            ),
            _ => continue,
        };
        fatal |= is_fatal;
        findings.push(finding);
    }
    (fatal, findings)
}

/// Whether a program anywhere could ask there, by what the address says.
fn is_public(url: &Url) -> bool {
    const OF_A_NETWORK: [&str; 6] = [".local", ".lan", ".internal", ".localhost", ".home.arpa", ".test"];
    let reaches = match url.host() {
        Some(Host::Domain(name)) => {
            name.contains('.')
                && !OF_A_NETWORK
                    .iter()
                    .any(|end| name.trim_end_matches('.').ends_with(end))
        }
        Some(Host::Ipv4(address)) => special_purpose(IpAddr::V4(address)).is_none(),
        Some(Host::Ipv6(address)) => special_purpose(IpAddr::V6(address)).is_none(),
        None => false,
    };
    url.scheme() == "https" && reaches
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_reached_from_everywhere() {
        let public = |text: &str| is_public(&text.parse().unwrap());
        for far in [
            "https://auth.example.org",
            "https://1.1.1.1/mcp",
            "https://[2606:4700::1111]/",
        ] {
            assert!(public(far), "{far}");
        }
        for near in [
            "http://auth.example.org",
            "https://localhost:9000",
            "https://hive/mcp",
            "https://node.local/mcp",
            "https://node.home.arpa./mcp",
            "https://192.168.1.4/mcp",
            "https://[::1]/",
            "https://[fd00::1]/",
        ] {
            assert!(!public(near), "{near}");
        }
    }
}
