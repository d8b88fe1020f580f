//! Requests whose refusals matter too: the answer is brought whatever its status.

use reqwest::RequestBuilder;
use reqwest::header::{ACCEPT, ACCEPT_ENCODING, CONTENT_TYPE};
use serde_json::Value;
use url::{Url, form_urlencoded};
use zeroize::Zeroizing;

use super::{FetchFault, HttpClient, check_scheme, in_trace, transport, whole};
use crate::secret::Secret;

/// A request of any method.
#[derive(Debug)]
pub struct Message<'a> {
    /// The method, in upper case.
    pub method: &'a str,
    /// Where it goes.
    pub url: &'a Url,
    /// Further headers.
    pub headers: &'a [(&'static str, &'a str)],
    /// The JSON body.
    pub document: Option<&'a Value>,
}

/// An answer of any status.
#[derive(Debug)]
pub struct Exchanged {
    /// The status code.
    pub status: u16,
    /// The whole body.
    pub body: Vec<u8>,
}

impl Exchanged {
    /// The body as a JSON object with no member twice; `None` when it is something else.
    pub fn json(&self) -> Option<Value> {
        crate::json::object(&self.body).ok().map(Value::Object)
    }

    /// The sentence of a problem document (RFC 9457 §3.1.4) or an OAuth error (RFC 6749 §5.2), or the status.
    pub fn complaint(&self) -> String {
        let body = self.json();
        let member = |name: &str| body.as_ref()?.get(name)?.as_str().map(printable);
        if let Some(sentence) = member("detail") {
            return sentence;
        }
        match (member("error_description"), member("error")) {
            (Some(sentence), Some(code)) => format!("{sentence} ({code})"),
            (Some(text), None) | (None, Some(text)) => text,
            (None, None) => format!("it answered with status {}", self.status),
        }
    }
}

/// At most 300 characters of somebody else's text, on one line.
fn printable(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(300).collect()
}

impl HttpClient {
    /// POSTs a JSON document to an address that the operator named, or that such an address named.
    pub async fn exchange_json(
        &self,
        url: &Url,
        document: &Value,
        max_bytes: usize,
    ) -> Result<Exchanged, FetchFault> {
        check_scheme(url)?;
        let body = Zeroizing::new(document.to_string());
        let request = self
            .0
            .post(url.clone())
            .header(CONTENT_TYPE, "application/json")
            .body(body.as_bytes().to_vec());
        receive(request, max_bytes).await
    }

    /// POSTs a form.
    pub async fn exchange_form(
        &self,
        url: &Url,
        form: &[(&str, &str)],
        max_bytes: usize,
    ) -> Result<Exchanged, FetchFault> {
        check_scheme(url)?;
        let body = Zeroizing::new(
            form_urlencoded::Serializer::new(String::new())
                .extend_pairs(form)
                .finish(),
        );
        let request = self
            .0
            .post(url.clone())
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(body.as_bytes().to_vec());
        receive(request, max_bytes).await
    }

    /// POSTs nothing, with a token in the `Authorization` header (RFC 6750 §2.1).
    pub async fn exchange_post_as(
        &self,
        token: &Secret,
        url: &Url,
        max_bytes: usize,
    ) -> Result<Exchanged, FetchFault> {
        check_scheme(url)?;
        receive(self.0.post(url.clone()).bearer_auth(token.reveal()), max_bytes).await
    }

    /// Sends a request of any method with a token in the `Authorization` header, to an address that the operator named.
    ///
    /// # Errors
    /// When the address is plain http on another machine, nobody answers, or the answer is larger than `max_bytes`.
    pub async fn send_as(
        &self,
        token: &Secret,
        message: &Message<'_>,
        max_bytes: usize,
    ) -> Result<Exchanged, FetchFault> {
        check_scheme(message.url)?;
        let method = reqwest::Method::from_bytes(message.method.as_bytes());
        let method = method.map_err(|fault| FetchFault::Transport(fault.to_string()))?;
        let mut request = self
            .0
            .request(method, message.url.clone())
            .bearer_auth(token.reveal());
        for (name, value) in message.headers {
            request = request.header(*name, *value);
        }
        if let Some(document) = message.document {
            let body = Zeroizing::new(document.to_string());
            request = request
                .header(CONTENT_TYPE, "application/json")
                .body(body.as_bytes().to_vec());
        }
        receive(request, max_bytes).await
    }

    /// GETs with a token in the `Authorization` header (RFC 6750 §2.1).
    pub async fn exchange_as(
        &self,
        token: &Secret,
        url: &Url,
        max_bytes: usize,
    ) -> Result<Exchanged, FetchFault> {
        check_scheme(url)?;
        receive(self.0.get(url.clone()).bearer_auth(token.reveal()), max_bytes).await
    }
}

async fn receive(request: RequestBuilder, max_bytes: usize) -> Result<Exchanged, FetchFault> {
    let request = in_trace(request)
        .header(ACCEPT, "application/json")
        .header(ACCEPT_ENCODING, "identity");
    let answer = request.send().await.map_err(transport)?;
    Ok(Exchanged {
        status: answer.status().as_u16(),
        body: whole(answer, max_bytes).await?,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use wiremock::matchers::{body_string, header, method};
    use wiremock::{Mock, MockServer, ResponseTemplate};

    use super::*;

    #[tokio::test]
    async fn a_refusal_is_brought_with_its_sentence() {
        let server = MockServer::start().await;
        let refusal = json!({"error": "invalid_invite", "error_description": "no\nsuch invite"});
        Mock::given(method("POST"))
            .and(header("content-type", "application/json"))
            .and(body_string("{\"a\":1}"))
            .respond_with(ResponseTemplate::new(400).set_body_json(refusal))
            .mount(&server)
            .await;
        let url: Url = server.uri().parse().unwrap();
        let client = HttpClient::new(None).unwrap();
        let answer = client.exchange_json(&url, &json!({"a": 1}), 1000).await.unwrap();
        assert_eq!(answer.status, 400);
        assert_eq!(answer.complaint(), "nosuch invite (invalid_invite)");
        let other = client.exchange_form(&url, &[("a", "1")], 1000).await.unwrap();
        assert_eq!(other.complaint(), "it answered with status 404");
        let short = client.exchange_json(&url, &json!({"a": 1}), 10).await;
        assert!(matches!(short, Err(FetchFault::TooLarge(10))));
        let far = "http://192.0.2.1/x".parse().unwrap();
        assert!(matches!(
            client.exchange_json(&far, &json!({}), 10).await,
            Err(FetchFault::Scheme)
        ));
    }
}
