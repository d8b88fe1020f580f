//! A client's first steps: it makes itself known, and asks for a code. What it would show the person is not looked at.

use serde_json::{Value, json};
use shared::http_client::{HeaderMap, HttpClient, Method};
use url::Url;

use super::Finding;
use super::clients::{Insists, RealClient, Way};
use super::seen::{SeenNode, SeenServer, set};

/// The largest page that is read.
const MAX_BYTES: usize = 256 * 1024;
/// RFC 7636 appendix B: nobody redeems the code.
const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";

/// What came of it.
#[derive(Debug, Default)]
pub(super) struct Played {
    /// How the client made itself known, if any of its ways led on.
    pub(super) way: Option<Way>,
    /// What went wrong on the other ways, and what was not tried.
    pub(super) findings: Vec<Finding>,
}

/// Tries each way of `real` until one leads to the page where a person signs in.
pub(super) async fn play(
    client: &HttpClient,
    real: &RealClient,
    (server, node): (&SeenServer, Option<&SeenNode>),
    registers: bool,
) -> Played {
    let mut played = Played::default();
    for way in real.ways {
        let went = match way {
            Way::Document(address) => by_document(client, (real, address), (server, node))
                .await
                .map_err(|finding| vec![finding]),
            Way::Registration if server.address("registration_endpoint").is_none() => {
                Err(vec![Finding::new(
                    "nobody may register here by themselves",
                    "set clients.registration = \"open\", or hand out invitations (client invite)",
                )])
            }
            Way::Registration if registers => by_registration(client, real, (server, node)).await,
            Way::Registration => Ok(()),
        };
        match went {
            Ok(()) => {
                played.way = Some(*way);
                break;
            }
            Err(findings) => played.findings.extend(findings),
        }
    }
    played
}

async fn by_document(
    client: &HttpClient,
    (real, address): (&RealClient, &str),
    (server, node): (&SeenServer, Option<&SeenNode>),
) -> Result<(), Finding> {
    if !server.says("client_id_metadata_document_supported") {
        return Err(Finding::new(
            "clients are not known by the address of their metadata here",
            "set clients.metadata_documents = \"on\"",
        ));
    }
    if real.insists.contains(&Insists::None) && !server.lists("token_endpoint_auth_methods_supported", "none")
    {
        return Err(Finding::new(
            "token_endpoint_auth_methods_supported does not list none, without which it does not use its document",
            "",
        ));
    }
    let host = address.split('/').nth(2).unwrap_or_default();
    let asked = ask(client, (real, address), (server, node)).await;
    asked.map_err(|reason| {
        Finding::new(
            format!("with its document {address}, it is told: {reason}"),
            format!(
                "let the server reach {host}; or save the document and have it read from there: client import --document FILE --pin"
            ),
        )
    })
}

async fn by_registration(
    client: &HttpClient,
    real: &RealClient,
    seen: (&SeenServer, Option<&SeenNode>),
) -> Result<(), Vec<Finding>> {
    let fault = |reason: String| {
        vec![Finding::new(
            format!("when it registers, it is told: {reason}"),
            "see the log of the server",
        )]
    };
    let Some(endpoint) = seen.0.address("registration_endpoint") else {
        return Err(fault("there is no registration_endpoint".to_owned()));
    };
    let metadata = json!({
        "client_name": format!("{} (doctor)", real.name),
        "redirect_uris": [real.redirect_uri],
        "grant_types": ["authorization_code", "refresh_token"],
        "response_types": ["code"],
        "token_endpoint_auth_method": "none",
    });
    let answer = client.exchange_json(&endpoint, &metadata, MAX_BYTES).await;
    let answer = answer.map_err(|e| fault(e.to_string()))?;
    let registered = answer.json().filter(|_| answer.status == 201);
    let Some(registered) = registered else {
        return Err(fault(answer.complaint()));
    };
    let text = |name: &str| registered.get(name).and_then(Value::as_str);
    let asked = match text("client_id") {
        Some(id) => ask(client, (real, id), seen).await,
        None => Err("no client_id".to_owned()),
    };
    let left = delete(
        client,
        &endpoint,
        text("registration_client_uri"),
        text("registration_access_token"),
    )
    .await;
    after_registering(asked, left)
}

/// What became of what was tried, and of what was left behind: of two faults, both are told.
fn after_registering(asked: Result<(), String>, deleted: Result<(), String>) -> Result<(), Vec<Finding>> {
    let refused = asked
        .err()
        .map(|reason| Finding::new(format!("registered, it is told: {reason}"), ""));
    let left = deleted.err().map(|reason| {
        let what = format!("the client that it registered is still there: {reason}");
        Finding::new(what, "delete it (client list, client revoke)")
    });
    let findings: Vec<Finding> = refused.into_iter().chain(left).collect();
    if findings.is_empty() {
        Ok(())
    } else {
        Err(findings)
    }
}

/// Deletes what was registered at `endpoint`, there and nowhere else (RFC 7592 §2.3).
async fn delete(
    client: &HttpClient,
    endpoint: &Url,
    address: Option<&str>,
    token: Option<&str>,
) -> Result<(), String> {
    let (Some(address), Some(token)) = (address, token) else {
        return Err("the answer does not say how to delete it".to_owned());
    };
    let url: Url = address
        .parse()
        .map_err(|_| "registration_client_uri is no address".to_owned())?;
    if url.origin() != endpoint.origin() {
        return Err("registration_client_uri is at another server".to_owned());
    }
    let mut headers = HeaderMap::new();
    set(&mut headers, "authorization", &format!("Bearer {token}"));
    if let Some(bearer) = headers.get_mut("authorization") {
        bearer.set_sensitive(true);
    }
    match client
        .look((Method::DELETE, &url), &headers, Vec::new(), MAX_BYTES)
        .await
    {
        Ok(looked) if looked.status == 204 => Ok(()),
        Ok(looked) => Err(format!("deleting is answered with status {}", looked.status)),
        Err(fault) => Err(fault.to_string()),
    }
}

/// Asks for a code as the client `id`; the error is what a person would read.
async fn ask(
    client: &HttpClient,
    (real, id): (&RealClient, &str),
    (server, node): (&SeenServer, Option<&SeenNode>),
) -> Result<(), String> {
    let mut url = server
        .address("authorization_endpoint")
        .ok_or("there is no authorization_endpoint")?;
    let metadata = node.and_then(|node| node.metadata.as_ref().ok());
    let mut scopes: Vec<&str> = metadata
        .and_then(|metadata| metadata.get("scopes_supported")?.as_array())
        .map(|list| list.iter().filter_map(Value::as_str).collect())
        .unwrap_or_default();
    if real.insists.contains(&Insists::Offline) {
        scopes.push("offline_access");
    }
    {
        let mut query = url.query_pairs_mut();
        query
            .append_pair("response_type", "code")
            .append_pair("client_id", id)
            .append_pair("redirect_uri", real.redirect_uri)
            .append_pair("code_challenge", CHALLENGE)
            .append_pair("code_challenge_method", "S256")
            .append_pair("state", "doctor");
        if let Some(resource) = metadata.and_then(|metadata| metadata.get("resource")?.as_str()) {
            query.append_pair("resource", resource);
        }
        if !scopes.is_empty() {
            query.append_pair("scope", &scopes.join(" "));
        }
    }
    let looked = client
        .look((Method::GET, &url), &HeaderMap::new(), Vec::new(), MAX_BYTES)
        .await;
    let looked = looked.map_err(|fault| fault.to_string())?;
    let sent_to = looked
        .header("location")
        .and_then(|location| url.join(location).ok());
    match (looked.status, sent_to) {
        (200..300, _) => Ok(()),
        (300..400, Some(there)) if there.origin() == url.origin() => Ok(()),
        (300..400, Some(there)) => told(&there, node.is_some()),
        (status, _) => Err(title(&looked.body).unwrap_or_else(|| format!("status {status}"))),
    }
}

/// What the answer at the redirect URI says (RFC 6749 §4.1.2.1).
fn told(there: &Url, names_resource: bool) -> Result<(), String> {
    let member = |name: &str| {
        let mut pairs = there.query_pairs();
        let value = pairs.find_map(|(key, value)| (key == name).then_some(value))?;
        Some(
            value
                .chars()
                .filter(|c| !c.is_control())
                .take(300)
                .collect::<String>(),
        )
    };
    match (member("error"), member("error_description")) {
        // Without a node, nothing was said of what the token would be for.
        (Some(error), _) if error == "invalid_target" && !names_resource => Ok(()),
        (Some(error), Some(sentence)) => Err(format!("{sentence} ({error})")),
        (Some(error), None) => Err(error),
        (None, _) => Ok(()),
    }
}

/// The title of a page, without the name of the product behind it.
fn title(page: &[u8]) -> Option<String> {
    let page = String::from_utf8_lossy(page);
    let (title, _) = page.split_once("<title>")?.1.split_once("</title>")?;
    let title = title.split(" · ").next().unwrap_or(title);
    Some(title.chars().filter(|c| !c.is_control()).take(200).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_try_and_what_it_left_behind_are_both_told() {
        let failed = |reason: &str| Err(reason.to_owned());
        assert_eq!(after_registering(Ok(()), Ok(())), Ok(()));
        for (asked, deleted, told) in [
            (failed("no"), Ok(()), &["told: no"][..]),
            (Ok(()), failed("status 500"), &["still there: status 500"]),
            (
                failed("no"),
                failed("status 500"),
                &["told: no", "still there: status 500"],
            ),
        ] {
            let findings = after_registering(asked, deleted).unwrap_err();
            let said: Vec<_> = findings.iter().map(|finding| &*finding.what).collect();
            assert_eq!(said.len(), told.len(), "{said:?}");
            assert!(
                said.iter().zip(told).all(|(said, told)| said.ends_with(told)),
                "{said:?}"
            );
        }
    }

    #[test]
    fn what_a_person_would_read() {
        assert_eq!(
            title(b"<html><title>This program is not known here \xc2\xb7 Edge Hive</title>").as_deref(),
            Some("This program is not known here")
        );
        assert_eq!(title(b"<html>"), None);
        let at = |text: &str| -> Url { text.parse().unwrap() };
        let refused = told(
            &at("http://localhost/cb?error=invalid_scope&error_description=no+such"),
            true,
        );
        assert_eq!(refused, Err("no such (invalid_scope)".to_owned()));
        // Nothing that a terminal would obey.
        let hostile = told(&at("http://localhost/cb?error=%1b%5b2Jx"), true);
        assert_eq!(hostile, Err("[2Jx".to_owned()));
        let untold = at("http://localhost/cb?error=invalid_target");
        assert_eq!(told(&untold, false), Ok(()));
        assert_eq!(told(&untold, true), Err("invalid_target".to_owned()));
        assert_eq!(told(&at("http://localhost/cb?code=x"), true), Ok(()));
    }
}
