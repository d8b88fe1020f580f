//! What is done for those who are known (RFC 8555 §7).

use std::sync::PoisonError;
use std::time::Duration;

use rcgen::{CertificateParams, date_time_ymd};
use serde_json::{Value, json};

use super::signed::{Signed, decode};
use super::{Mood, Order, Refused, Shared, der, look};
use crate::forge;

impl Shared {
    pub(super) fn answer(
        &self,
        (method, path): (&str, &str),
        is_jose: bool,
        body: &[u8],
    ) -> Result<(u16, String, Value), Refused> {
        let url = &self.url;
        if self.lock().mood == Mood::Away {
            return Err((503, "serverInternal", "away".to_owned()));
        }
        match (method, path) {
            ("GET", "/directory") => {
                let directory = json!({
                    "newNonce": format!("{url}/nonce"), "newAccount": format!("{url}/account"),
                    "newOrder": format!("{url}/order"), "meta": {"termsOfService": format!("{url}/terms")},
                });
                return Ok((200, String::new(), directory));
            }
            ("HEAD", "/nonce") => return Ok((200, String::new(), Value::Null)),
            ("POST", _) if is_jose => {}
            _ => {
                return Err((
                    405,
                    "malformed",
                    "RFC 8555 §6.2: application/jose+json, by POST".to_owned(),
                ));
            }
        }
        let signed = self.verified(path, body)?;
        let mut parts = path.trim_start_matches('/').split('/');
        let (noun, id) = (parts.next().unwrap_or_default(), parts.next());
        let number = id.and_then(|id| id.parse::<usize>().ok());
        match (noun, number, signed.account) {
            ("account", None, None) => self.account(&signed),
            ("order", None, Some(account)) => self.order(account, &signed),
            ("order", Some(order), Some(_)) => Ok((200, String::new(), self.shown(order))),
            ("authz", Some(number), Some(_)) => Ok((200, String::new(), self.authorization(number))),
            ("challenge", Some(number), Some(_)) => self.challenge(number, &signed),
            ("finalize", Some(order), Some(account)) => self.finalize(order, account, &signed),
            ("certificate", Some(order), Some(_)) => {
                let state = self.lock();
                let pem = state.orders[order].certificate.clone().unwrap_or_default();
                Ok((200, String::new(), Value::String(pem)))
            }
            _ => Err((404, "malformed", "there is nothing here".to_owned())),
        }
    }
    fn account(&self, signed: &Signed) -> Result<(u16, String, Value), Refused> {
        let asked: Value = serde_json::from_slice(&signed.payload).unwrap_or_default();
        if asked["termsOfServiceAgreed"] != true
            || asked["contact"] != json!(["mailto:operator@edge.example"])
        {
            return Err((
                403,
                "userActionRequired",
                "agree to the terms, and say who you are".to_owned(),
            ));
        }
        let mut state = self.lock();
        let known = state
            .accounts
            .iter()
            .position(|(point, _)| *point == signed.point);
        let number = known.unwrap_or_else(|| {
            state
                .accounts
                .push((signed.point.clone(), signed.thumbprint.clone()));
            state.accounts.len() - 1
        });
        let location = format!("Location: {}/account/{number}\r\n", self.url);
        let status = if known.is_some() { 200 } else { 201 };
        Ok((status, location, json!({"status": "valid"})))
    }

    fn order(&self, account: usize, signed: &Signed) -> Result<(u16, String, Value), Refused> {
        let mut state = self.lock();
        match &state.mood {
            Mood::Limiting(until) => {
                let detail = format!(
                    "too many certificates already issued, retry after {until} UTC: see https://ca.example"
                );
                return Err((429, "rateLimited", detail));
            }
            Mood::Rejecting => {
                let detail = "policy forbids issuing for the name".to_owned();
                return Err((400, "rejectedIdentifier", detail));
            }
            _ => {}
        }
        let asked: Value = serde_json::from_slice(&signed.payload).unwrap_or_default();
        let identifiers = asked["identifiers"].as_array().cloned().unwrap_or_default();
        let domains = identifiers
            .iter()
            .filter(|identifier| identifier["type"] == "dns")
            .filter_map(|identifier| identifier["value"].as_str())
            .map(|name| (name.to_owned(), "pending", forge::fresh_id()))
            .collect();
        state.orders.push(Order {
            account,
            domains,
            certificate: None,
        });
        let number = state.orders.len() - 1;
        drop(state);
        let location = format!("Location: {}/order/{number}\r\n", self.url);
        Ok((201, location, self.shown(number)))
    }

    fn shown(&self, number: usize) -> Value {
        let (url, state) = (&self.url, self.lock());
        let order = &state.orders[number];
        let has = |status: &str| order.domains.iter().any(|(_, is, _)| *is == status);
        let status = match &order.certificate {
            Some(_) => "valid",
            None if has("invalid") => "invalid",
            None if has("pending") => "pending",
            None => "ready",
        };
        let authorizations: Vec<_> = (0..order.domains.len())
            .map(|domain| format!("{url}/authz/{}", number * 100 + domain))
            .collect();
        let mut shown = json!({
            "status": status, "authorizations": authorizations, "finalize": format!("{url}/finalize/{number}"),
        });
        if order.certificate.is_some() {
            shown["certificate"] = json!(format!("{url}/certificate/{number}"));
        }
        shown
    }

    fn authorization(&self, number: usize) -> Value {
        let state = self.lock();
        let (name, status, token) = &state.orders[number / 100].domains[number % 100];
        let url = format!("{}/challenge/{number}", self.url);
        let challenge = |kind: &str| {
            let mut challenge = json!({"type": kind, "url": url, "token": token, "status": status});
            if *status == "invalid" {
                challenge["error"] = json!({
                    "type": "urn:ietf:params:acme:error:unauthorized", "detail": "nobody there shows the token",
                });
            }
            challenge
        };
        let kind = if state.ports.1.is_some() {
            "http-01"
        } else {
            "tls-alpn-01"
        };
        json!({
            "status": status, "identifier": {"type": "dns", "value": name},
            "challenges": [{"type": "dns-01", "url": "https://localhost/none", "token": "x"}, challenge(kind)],
        })
    }

    /// RFC 8555 §7.5.1: the client says that it is ready, and we look.
    fn challenge(&self, number: usize, signed: &Signed) -> Result<(u16, String, Value), Refused> {
        if signed.payload != b"{}" {
            return Err((400, "malformed", "RFC 8555 §7.5.1: an empty object".to_owned()));
        }
        let mut state = self.lock();
        while state.mood == Mood::Holding && !state.over {
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        let (name, _, token) = state.orders[number / 100].domains[number % 100].clone();
        let ports = state.ports;
        drop(state);
        let key_authorization = format!("{token}.{}", signed.thumbprint);
        let is_there = match ports {
            (_, Some(port)) => look::over_http(port, &name, &token, &key_authorization),
            (port, None) => look::over_tls(port, &name, &key_authorization),
        };
        let status = if is_there { "valid" } else { "invalid" };
        self.lock().orders[number / 100].domains[number % 100].1 = status;
        Ok((
            200,
            String::new(),
            json!({"status": status, "url": self.url, "token": token}),
        ))
    }

    /// RFC 8555 §7.4: the request is for the names of the order, and whoever made it has the key.
    fn finalize(
        &self,
        number: usize,
        account: usize,
        signed: &Signed,
    ) -> Result<(u16, String, Value), Refused> {
        let asked: Value = serde_json::from_slice(&signed.payload).unwrap_or_default();
        let request = decode(asked["csr"].as_str().unwrap_or_default());
        let mut state = self.lock();
        let (before, after) = state.life;
        let order = &mut state.orders[number];
        if order.account != account || order.domains.iter().any(|(_, status, _)| *status != "valid") {
            return Err((403, "orderNotReady", "not yet".to_owned()));
        }
        let names: Vec<String> = order.domains.iter().map(|(name, ..)| name.clone()).collect();
        let key = der::public_key(&request, &names).ok_or((
            400,
            "badCSR",
            "not signed, or not for these names".to_owned(),
        ))?;
        let mut params = CertificateParams::new(names).unwrap();
        let now = Duration::from_secs(forge::now().unsigned_abs());
        let epoch = date_time_ymd(1970, 1, 1);
        params.not_before = epoch + (now - before);
        params.not_after = epoch + (now + after);
        let leaf = params.signed_by(&key, &self.issuer).unwrap().pem();
        order.certificate = Some(format!("{leaf}{}", self.pem));
        drop(state);
        Ok((200, String::new(), self.shown(number)))
    }
}
