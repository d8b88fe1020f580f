//! Asking whether something changed: what is known already is named by its `ETag` (RFC 9110 §13.1.2), and the server may
//! wait with its answer until there is something new (RFC 7240 §4.3).

use std::time::Duration;

use reqwest::header::{ACCEPT, ACCEPT_ENCODING, CACHE_CONTROL, ETAG, IF_NONE_MATCH};
use url::Url;

use super::{FetchFault, HttpClient, MAX_HEAD_BYTES, TOTAL_TIMEOUT, check_scheme, media_type, transport};

/// What is asked.
#[derive(Clone, Copy, Debug)]
pub struct Question<'a> {
    /// The media type that is wanted.
    pub accept: &'static str,
    /// The `ETag` of what is known already.
    pub etag: Option<&'a str>,
    /// How long the server may wait for something new.
    pub wait: Duration,
    /// The largest answer that is read.
    pub max_bytes: usize,
}

/// Something new.
#[derive(Debug)]
pub struct News {
    /// The whole body.
    pub body: Vec<u8>,
    /// By which it can be named.
    pub etag: Option<String>,
    /// `Content-Type` in lower case, without its parameters; `None` when it is not there exactly once.
    pub media_type: Option<String>,
}

impl HttpClient {
    /// What is new at an address that the operator configured or that such an address named; `None` when nothing is.
    pub async fn fetch_news(&self, url: &Url, question: Question<'_>) -> Result<Option<News>, FetchFault> {
        check_scheme(url)?;
        let mut request = self
            .0
            .get(url.clone())
            .timeout(TOTAL_TIMEOUT + question.wait)
            .header(ACCEPT, question.accept)
            .header(ACCEPT_ENCODING, "identity")
            // A cache on the way may keep what it has, but must ask first.
            .header(CACHE_CONTROL, "no-cache");
        if let Some(etag) = question.etag {
            request = request.header(IF_NONE_MATCH, etag);
            if !question.wait.is_zero() {
                request = request.header("prefer", format!("wait={}", question.wait.as_secs()));
            }
        }
        let mut answer = request.send().await.map_err(transport)?;
        let lengths = answer
            .headers()
            .iter()
            .map(|(name, value)| name.as_str().len() + value.len());
        if lengths.sum::<usize>() > MAX_HEAD_BYTES {
            return Err(FetchFault::LongHead);
        }
        match answer.status().as_u16() {
            304 if question.etag.is_some() => return Ok(None),
            200 => {}
            other => return Err(FetchFault::Status(other)),
        }
        let media_type = media_type(answer.headers());
        let etag = answer.headers().get(ETAG).and_then(|value| value.to_str().ok());
        let etag = etag.map(str::to_owned);
        let mut body = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(transport)? {
            if body.len() + chunk.len() > question.max_bytes {
                return Err(FetchFault::TooLarge(question.max_bytes));
            }
            body.extend_from_slice(&chunk);
        }
        Ok(Some(News {
            body,
            etag,
            media_type,
        }))
    }
}

#[cfg(test)]
mod tests {
    use wiremock::matchers::{header, path};
    use wiremock::{Mock, MockServer, ResponseTemplate};

    use super::*;

    const QUESTION: Question<'_> = Question {
        accept: "application/json",
        etag: None,
        wait: Duration::from_secs(20),
        max_bytes: 8,
    };

    #[tokio::test]
    async fn what_is_known_is_named_and_not_sent_again() {
        let server = MockServer::start().await;
        Mock::given(path("/x"))
            .and(header("if-none-match", "\"a\""))
            .and(header("prefer", "wait=20"))
            .respond_with(ResponseTemplate::new(304))
            .mount(&server)
            .await;
        Mock::given(path("/x"))
            .respond_with(
                ResponseTemplate::new(200)
                    .insert_header("etag", "\"a\"")
                    .set_body_string("news"),
            )
            .mount(&server)
            .await;
        let client = HttpClient::new(None).unwrap();
        let url = format!("{}/x", server.uri()).parse().unwrap();
        let news = client.fetch_news(&url, QUESTION).await.unwrap().unwrap();
        assert_eq!(
            (news.body.as_slice(), news.etag.as_deref()),
            (&b"news"[..], Some("\"a\""))
        );
        let known = Question {
            etag: Some("\"a\""),
            ..QUESTION
        };
        assert!(client.fetch_news(&url, known).await.unwrap().is_none());
        let small = Question {
            max_bytes: 3,
            ..QUESTION
        };
        assert!(matches!(
            client.fetch_news(&url, small).await,
            Err(FetchFault::TooLarge(3))
        ));
    }

    #[tokio::test]
    async fn an_answer_that_makes_no_sense_is_a_fault() {
        let server = MockServer::start().await;
        for (place, status) in [("/304", 304), ("/404", 404), ("/302", 302)] {
            Mock::given(path(place))
                .respond_with(ResponseTemplate::new(status))
                .mount(&server)
                .await;
            let url = format!("{}{place}", server.uri()).parse().unwrap();
            let answer = HttpClient::new(None).unwrap().fetch_news(&url, QUESTION).await;
            assert!(matches!(answer, Err(FetchFault::Status(found)) if found == status));
        }
    }
}
