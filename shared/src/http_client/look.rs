//! Looking at an answer as it is, for whoever judges a server: any method, every header, whatever the status. No redirect
//! is followed: where it leads is part of the answer.

use std::time::{Duration, Instant};

use reqwest::Method;
use reqwest::header::HeaderMap;
use serde_json::{Map, Value};
use url::Url;

use super::{FetchFault, HttpClient, check_scheme, transport, whole};

/// An answer of any status.
#[derive(Debug)]
pub struct Looked {
    /// The status code.
    pub status: u16,
    /// Every header.
    pub headers: HeaderMap,
    /// The whole body.
    pub body: Vec<u8>,
    /// From the question to the end of the answer.
    pub took: Duration,
}

impl Looked {
    /// A header that is text and stands there once.
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut values = self.headers.get_all(name).iter();
        let value = values.next()?.to_str().ok()?;
        values.next().is_none().then_some(value)
    }

    /// The body as a JSON object with no member twice; `None` when it is something else.
    pub fn json(&self) -> Option<Map<String, Value>> {
        crate::json::object(&self.body).ok()
    }
}

impl HttpClient {
    /// Sends a request to an address that the operator named, or that such an address named, and brings the answer with
    /// a body of at most `max_bytes`.
    ///
    /// # Errors
    /// When the address may not be asked, no answer comes, or it is too large.
    pub async fn look(
        &self,
        (method, url): (Method, &Url),
        headers: &HeaderMap,
        body: Vec<u8>,
        max_bytes: usize,
    ) -> Result<Looked, FetchFault> {
        check_scheme(url)?;
        let start = Instant::now();
        let request = self
            .0
            .request(method, url.clone())
            .headers(headers.clone())
            .body(body);
        let answer = request.send().await.map_err(transport)?;
        Ok(Looked {
            status: answer.status().as_u16(),
            headers: answer.headers().clone(),
            body: whole(answer, max_bytes).await?,
            took: start.elapsed(),
        })
    }
}

#[cfg(test)]
mod tests {
    use wiremock::matchers::{header, method};
    use wiremock::{Mock, MockServer, ResponseTemplate};

    use super::*;

    #[tokio::test]
    async fn an_answer_is_seen_as_it_is() {
        let server = MockServer::start().await;
        let elsewhere = ResponseTemplate::new(303)
            .insert_header("location", "https://elsewhere.example/")
            .set_body_string("{\"a\":1}");
        Mock::given(method("OPTIONS"))
            .and(header("origin", "http://localhost:6274"))
            .respond_with(elsewhere)
            .mount(&server)
            .await;
        let client = HttpClient::new(None).unwrap();
        let url: Url = server.uri().parse().unwrap();
        let mut headers = HeaderMap::new();
        headers.insert("origin", "http://localhost:6274".parse().unwrap());
        let look = |method, max| client.look((method, &url), &headers, Vec::new(), max);
        let seen = look(Method::OPTIONS, 100).await.unwrap();
        assert_eq!(
            (seen.status, seen.header("location")),
            (303, Some("https://elsewhere.example/"))
        );
        assert_eq!(seen.json().unwrap()["a"], 1);
        assert_eq!(look(Method::GET, 100).await.unwrap().status, 404);
        assert!(matches!(
            look(Method::OPTIONS, 3).await,
            Err(FetchFault::TooLarge(3))
        ));
        let far: Url = "http://192.0.2.1/x".parse().unwrap();
        let refused = client.look((Method::GET, &far), &headers, Vec::new(), 3).await;
        assert!(matches!(refused, Err(FetchFault::Scheme)));
    }
}
