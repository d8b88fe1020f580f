//! The one outbound HTTP client. It follows no redirect, sends nothing that identifies the user, and gives up on an
//! answer that is too large or too slow. [`HttpClient`] is for addresses that the operator named, [`GuardedClient`] for
//! those that a stranger did.

mod changed;
mod exchange;
mod guard;
mod look;
mod rule;
mod special_use;

use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

pub use reqwest::Method;
pub use reqwest::header::HeaderMap;
use reqwest::header::{ACCEPT, ACCEPT_ENCODING, AGE, CACHE_CONTROL, CONTENT_TYPE};
use reqwest::{ClientBuilder, RequestBuilder, Response};
use rustls::RootCertStore;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use url::{Url, form_urlencoded};
use zeroize::Zeroizing;

pub use self::changed::{News, Question};
pub use self::exchange::{Exchanged, Message};
pub use self::guard::{GuardFault, GuardedClient, Own};
pub use self::look::Looked;
pub use self::rule::{GuardRule, HostPattern, HostPatternFault, RuleFault};
pub use self::special_use::{purpose as special_purpose, reached as reached_address};
use crate::secret::Secret;
use crate::trace;
use crate::uri::is_loopback;

/// Time for the TCP and TLS handshakes.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// Time for the whole answer.
const TOTAL_TIMEOUT: Duration = Duration::from_secs(5);
/// While an answer is waited for, the other side's network is asked so often whether it is there, and (on Linux)
/// has so long to say so.
/// A question that waits for news would otherwise end only with its time when the packets of a network are dropped.
const ALIVE: (Duration, Duration) = (Duration::from_secs(2), Duration::from_secs(5));
/// Names and values of an answer's headers together, at most.
const MAX_HEAD_BYTES: usize = 16 * 1024;

/// Why a fetch brought nothing. The text names no address that the caller did not name itself.
#[derive(Debug, thiserror::Error)]
pub enum FetchFault {
    /// Plain http to another machine, or no http at all.
    #[error("only https is fetched (plain http only from this machine)")]
    Scheme,
    /// No connection, no TLS, or no answer in time.
    #[error("no answer: {0}")]
    Transport(String),
    /// Any status but 200; redirects are never followed.
    #[error("answered with status {0} instead of 200")]
    Status(u16),
    /// More bytes than asked for.
    #[error("answered with more than {0} bytes")]
    TooLarge(usize),
    /// More bytes in the headers than any honest answer has.
    #[error("answered with more than {MAX_HEAD_BYTES} bytes of headers")]
    LongHead,
}

/// Why the client could not be made.
#[derive(Debug, thiserror::Error)]
pub enum ClientFault {
    /// The file with additional certificate authorities cannot be read.
    #[error("cannot read the certificate authorities in {path}: {reason}")]
    Authorities {
        /// The file.
        path: String,
        /// Why.
        reason: String,
    },
    /// The TLS or HTTP library refused its settings.
    #[error("cannot start the HTTP client: {0}")]
    Library(String),
}

/// A good answer.
#[derive(Debug)]
pub struct Fetched {
    /// The whole body.
    pub body: Vec<u8>,
    /// `Content-Type` in lower case, without its parameters; `None` when it is not there exactly once.
    pub media_type: Option<String>,
    /// `max-age` of `Cache-Control`, if it was given.
    pub max_age: Option<Duration>,
    /// Whether `Cache-Control` says `no-store` or `no-cache`.
    pub no_store: bool,
    /// `Age`: how long it has been in caches on the way.
    pub age: Duration,
}

impl Fetched {
    /// Whether the answer says of itself that it is JSON: `application/json`, or a type with the suffix `+json`
    /// (RFC 6839 §3.1), as `application/jwk-set+json` is.
    pub fn is_json(&self) -> bool {
        let subtype = self
            .media_type
            .as_deref()
            .and_then(|name| name.strip_prefix("application/"));
        subtype.is_some_and(|name| {
            name == "json" || name.strip_suffix("+json").is_some_and(|base| !base.is_empty())
        })
    }

    /// How long the answer may be kept (RFC 9111 §4.2), within `bounds`: `usual` where it does not say, the least
    /// where it says not at all.
    pub fn fresh_for(&self, usual: Duration, bounds: RangeInclusive<Duration>) -> Duration {
        let wanted = match (self.no_store, self.max_age) {
            (true, _) => Duration::ZERO,
            (false, Some(max_age)) => max_age.saturating_sub(self.age),
            (false, None) => usual,
        };
        wanted.clamp(*bounds.start(), *bounds.end())
    }
}

/// The client. Cheap to clone.
#[derive(Clone, Debug)]
pub struct HttpClient(reqwest::Client);

impl HttpClient {
    /// A client that trusts Mozilla's authorities, compiled in, and those in the PEM file `extra_authorities`.
    pub fn new(extra_authorities: Option<&Path>) -> Result<Self, ClientFault> {
        built(for_documents(extra_authorities)?).map(Self)
    }

    /// The same for a person who waits: an answer has as long as `patience`.
    pub fn patient(extra_authorities: Option<&Path>, patience: Duration) -> Result<Self, ClientFault> {
        built(for_documents(extra_authorities)?.timeout(patience)).map(Self)
    }

    /// As [`Self::new`], but `host` is looked for at `address`, whatever the network says of the name: how a program on
    /// this machine asks the one beside it, and not another that answers to the same name.
    pub fn found_at(
        extra_authorities: Option<&Path>,
        (host, address): (&str, SocketAddr),
    ) -> Result<Self, ClientFault> {
        built(for_documents(extra_authorities)?.resolve(host, address)).map(Self)
    }

    /// The same for answers that come piece by piece, of a server that the operator named: a library's client without
    /// a limit on the time of a whole answer, so whoever asks sets one.
    pub fn for_streams(extra_authorities: Option<&Path>) -> Result<reqwest::Client, ClientFault> {
        built(builder(extra_authorities)?)
    }

    /// Fetches a JSON document of at most `max_bytes` from an address that the operator configured.
    pub async fn fetch_json(&self, url: &Url, max_bytes: usize) -> Result<Fetched, FetchFault> {
        self.fetch(url, None, max_bytes).await
    }

    /// As [`Self::fetch_json`], with an access token in the `Authorization` header (RFC 6750 §2.1).
    pub async fn fetch_json_as(
        &self,
        token: &Secret,
        url: &Url,
        max_bytes: usize,
    ) -> Result<Fetched, FetchFault> {
        self.fetch(url, Some(token), max_bytes).await
    }

    /// POSTs `form` to an address that the operator configured, or that such an address named, and brings the JSON
    /// answer. With `basic`, a client id and its secret in the `Authorization` header (RFC 6749 §2.3.1).
    pub async fn post_form(
        &self,
        url: &Url,
        form: &[(&str, &str)],
        basic: Option<(&str, &Secret)>,
        max_bytes: usize,
    ) -> Result<Fetched, FetchFault> {
        check_scheme(url)?;
        let body = Zeroizing::new(
            form_urlencoded::Serializer::new(String::new())
                .extend_pairs(form)
                .finish(),
        );
        let mut request = in_trace(self.0.post(url.clone()))
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(body.as_bytes().to_vec());
        if let Some((id, secret)) = basic {
            let encode = |text: &str| form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
            request = request.basic_auth(encode(id), Some(encode(secret.reveal())));
        }
        receive(request, max_bytes).await
    }

    /// POSTs `body` with `headers` to an address that the operator configured; brings the status and at most `max_bytes`
    /// of the answer, whatever they are.
    pub async fn post_bytes(
        &self,
        url: &Url,
        headers: &HeaderMap,
        body: Vec<u8>,
        max_bytes: usize,
    ) -> Result<(u16, Vec<u8>), FetchFault> {
        check_scheme(url)?;
        let request = self.0.post(url.clone()).headers(headers.clone()).body(body);
        let answer = request.send().await.map_err(transport)?;
        Ok((answer.status().as_u16(), whole(answer, max_bytes).await?))
    }

    async fn fetch(
        &self,
        url: &Url,
        token: Option<&Secret>,
        max_bytes: usize,
    ) -> Result<Fetched, FetchFault> {
        check_scheme(url)?;
        let mut request = in_trace(self.0.get(url.clone()));
        if let Some(token) = token {
            request = request.bearer_auth(token.reveal());
        }
        receive(request, max_bytes).await
    }
}

/// For answers that come whole and soon.
fn for_documents(extra_authorities: Option<&Path>) -> Result<ClientBuilder, ClientFault> {
    let builder = builder(extra_authorities)?
        .timeout(TOTAL_TIMEOUT)
        .tcp_keepalive(ALIVE.0)
        .tcp_keepalive_interval(Duration::from_secs(1))
        .tcp_keepalive_retries(3);
    #[cfg(target_os = "linux")]
    let builder = builder.tcp_user_timeout(ALIVE.1);
    Ok(builder)
}

/// The body, if it has at most `max_bytes`.
async fn whole(mut answer: Response, max_bytes: usize) -> Result<Vec<u8>, FetchFault> {
    let mut body = Vec::new();
    while let Some(chunk) = answer.chunk().await.map_err(transport)? {
        if body.len() + chunk.len() > max_bytes {
            return Err(FetchFault::TooLarge(max_bytes));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

#[expect(clippy::disallowed_methods, reason = "this is the door")]
fn builder(extra_authorities: Option<&Path>) -> Result<ClientBuilder, ClientFault> {
    Ok(reqwest::Client::builder()
        .tls_backend_preconfigured(tls_config(extra_authorities)?)
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .referer(false)
        .connect_timeout(CONNECT_TIMEOUT)
        .pool_max_idle_per_host(2))
}

fn built(builder: ClientBuilder) -> Result<reqwest::Client, ClientFault> {
    builder.build().map_err(|e| ClientFault::Library(e.to_string()))
}

/// Trusts Mozilla's authorities, compiled in, and those in the PEM file `extra_authorities`. No certificate of ours.
pub(crate) fn tls_config(extra_authorities: Option<&Path>) -> Result<rustls::ClientConfig, ClientFault> {
    let mut roots = RootCertStore {
        roots: webpki_roots::TLS_SERVER_ROOTS.to_vec(),
    };
    if let Some(path) = extra_authorities {
        add_authorities(&mut roots, path)?;
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
        .map_err(|e| ClientFault::Library(e.to_string()))?;
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}

/// https, or plain http on this very machine.
fn is_allowed(url: &Url) -> bool {
    let local = url.host().is_some_and(|host| is_loopback(&host));
    url.scheme() == "https" || (url.scheme() == "http" && local)
}

/// Whether the operator may name `url` as an address that is asked: https, or plain http on this machine; and no
/// credentials in it, which would end up in logs.
pub fn may_be_asked(url: &Url) -> bool {
    is_allowed(url) && url.username().is_empty() && url.password().is_none()
}

/// What an operator is told of an address that fails [`may_be_asked`].
pub const NOT_TO_BE_ASKED: &str = "it must be https (plain http only on this machine), without a user name";

fn check_scheme(url: &Url) -> Result<(), FetchFault> {
    is_allowed(url).then_some(()).ok_or(FetchFault::Scheme)
}

/// Asked in the span that is being served, if there is one ([`crate::trace`]).
fn in_trace(request: RequestBuilder) -> RequestBuilder {
    match trace::current() {
        Some(traceparent) => request.header(trace::TRACEPARENT, traceparent),
        None => request,
    }
}

/// Sends `request` and reads at most `max_bytes` of a good answer.
async fn receive(request: RequestBuilder, max_bytes: usize) -> Result<Fetched, FetchFault> {
    let request = request
        .header(ACCEPT, "application/json")
        .header(ACCEPT_ENCODING, "identity");
    let answer = request.send().await.map_err(transport)?;
    let lengths = answer
        .headers()
        .iter()
        .map(|(name, value)| name.as_str().len() + value.len());
    if lengths.sum::<usize>() > MAX_HEAD_BYTES {
        return Err(FetchFault::LongHead);
    }
    if answer.status().as_u16() != 200 {
        return Err(FetchFault::Status(answer.status().as_u16()));
    }
    let headers = answer.headers();
    let media_type = media_type(headers);
    let (max_age, no_store, age) = (
        max_age(headers),
        has_directive(headers, "no-store") || has_directive(headers, "no-cache"),
        age(headers),
    );
    Ok(Fetched {
        body: whole(answer, max_bytes).await?,
        media_type,
        max_age,
        no_store,
        age,
    })
}

fn add_authorities(roots: &mut RootCertStore, path: &Path) -> Result<(), ClientFault> {
    let fault = |reason: String| ClientFault::Authorities {
        path: path.display().to_string(),
        reason,
    };
    let found = CertificateDer::pem_file_iter(path).map_err(|e| fault(e.to_string()))?;
    for certificate in found {
        let certificate = certificate.map_err(|e| fault(e.to_string()))?;
        roots.add(certificate).map_err(|e| fault(e.to_string()))?;
    }
    Ok(())
}

/// The innermost cause, which says more than reqwest's own sentence, without the URL.
fn transport(error: reqwest::Error) -> FetchFault {
    if error.is_timeout() {
        return FetchFault::Transport("timed out".to_owned());
    }
    let error = error.without_url();
    let mut cause: &dyn std::error::Error = &error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    FetchFault::Transport(cause.to_string())
}

/// RFC 9110 §8.3. Of two nobody can tell which one is meant.
fn media_type(headers: &HeaderMap) -> Option<String> {
    let mut values = headers.get_all(CONTENT_TYPE).into_iter();
    let (Some(value), None) = (values.next(), values.next()) else {
        return None;
    };
    let name = value.to_str().ok()?.split(';').next()?;
    Some(name.trim().to_ascii_lowercase())
}

/// The directives of every `Cache-Control`.
fn directives(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    let values = headers.get_all(CACHE_CONTROL).into_iter();
    values
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(str::trim)
}

fn max_age(headers: &HeaderMap) -> Option<Duration> {
    let seconds = directives(headers).find_map(|directive| directive.strip_prefix("max-age="))?;
    seconds.parse().ok().map(Duration::from_secs)
}

fn has_directive(headers: &HeaderMap, name: &str) -> bool {
    directives(headers).any(|directive| directive.eq_ignore_ascii_case(name))
}

/// RFC 9111 §5.1. One that is no number is not there.
fn age(headers: &HeaderMap) -> Duration {
    let value = headers.get(AGE).and_then(|value| value.to_str().ok());
    let seconds = value.and_then(|text| text.parse().ok());
    Duration::from_secs(seconds.unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use wiremock::matchers::{body_string, header, method, path};
    use wiremock::{Mock, MockServer, ResponseTemplate};

    use super::*;

    async fn server(answer: ResponseTemplate) -> (MockServer, Url) {
        let server = MockServer::start().await;
        Mock::given(path("/doc"))
            .respond_with(answer)
            .mount(&server)
            .await;
        let url = format!("{}/doc", server.uri()).parse().unwrap();
        (server, url)
    }

    #[tokio::test]
    async fn brings_a_document_and_its_age() {
        let answer = ResponseTemplate::new(200)
            .insert_header("cache-control", "public, max-age=60")
            .set_body_string("{}");
        let (_server, url) = server(answer).await;
        let fetched = HttpClient::new(None).unwrap().fetch_json(&url, 2).await.unwrap();
        assert_eq!(
            (fetched.body.as_slice(), fetched.max_age),
            (b"{}".as_slice(), Some(Duration::from_secs(60)))
        );
    }

    #[test]
    fn cimd_16_how_long_an_answer_may_be_kept() {
        let seconds = Duration::from_secs;
        let fresh = |max_age: Option<u64>, no_store, age| {
            let fetched = Fetched {
                body: Vec::new(),
                media_type: None,
                max_age: max_age.map(seconds),
                no_store,
                age: seconds(age),
            };
            fetched
                .fresh_for(seconds(3600), seconds(60)..=seconds(86400))
                .as_secs()
        };
        assert_eq!(fresh(Some(600), false, 0), 600);
        assert_eq!(fresh(Some(600), false, 100), 500);
        assert_eq!(fresh(Some(600), false, u64::MAX), 60);
        assert_eq!(fresh(Some(31_536_000), false, 0), 86400);
        assert_eq!(fresh(Some(600), true, 0), 60);
        assert_eq!(fresh(None, false, 0), 3600);
    }

    #[tokio::test]
    async fn reads_the_headers_that_say_so() {
        let answer = ResponseTemplate::new(200)
            .append_header("cache-control", "public, No-Store")
            .append_header("cache-control", "max-age=7")
            .insert_header("age", "5")
            .set_body_string("{}");
        let (_server, url) = server(answer).await;
        let fetched = HttpClient::new(None).unwrap().fetch_json(&url, 2).await.unwrap();
        assert!(fetched.no_store);
        assert_eq!(
            (fetched.max_age, fetched.age),
            (Some(Duration::from_secs(7)), Duration::from_secs(5))
        );
    }

    #[tokio::test]
    async fn cimd_05_tells_whether_an_answer_is_json() {
        let client = HttpClient::new(None).unwrap();
        for (types, is_json) in [
            (&["application/json"][..], true),
            (&["Application/JSON ; charset=utf-8"], true),
            (&["application/jwk-set+json"], true),
            (&["application/problem+json;a=b"], true),
            (&["text/html"], false),
            (&["text/json"], false),
            (&["application/+json"], false),
            (&["application/jsonp"], false),
            (&["application/octet-stream; x=application/json"], false),
            (&["application/json, text/html"], false),
            (&["application/json", "text/html"], false),
            (&[], false),
        ] {
            let mut answer = ResponseTemplate::new(200).set_body_bytes("{}");
            for name in types {
                answer = answer.append_header("content-type", *name);
            }
            let (_server, url) = server(answer).await;
            let fetched = client.fetch_json(&url, 2).await.unwrap();
            assert_eq!(fetched.is_json(), is_json, "{types:?}: {:?}", fetched.media_type);
        }
    }

    #[tokio::test]
    async fn cimd_08_headers_end_at_a_limit() {
        let client = HttpClient::new(None).unwrap();
        for (length, is_good) in [(15 * 1024, true), (17 * 1024, false), (200 * 1024, false)] {
            let answer = ResponseTemplate::new(200)
                .insert_header("x-long", "x".repeat(length))
                .set_body_string("{}");
            let (_server, url) = server(answer).await;
            match client.fetch_json(&url, 2).await {
                Ok(_) => assert!(is_good, "{length}"),
                Err(FetchFault::LongHead) => assert!(!is_good, "{length}"),
                Err(other) => panic!("{length}: {other}"),
            }
        }
    }

    #[tokio::test]
    async fn stops_at_the_limit_and_follows_no_redirect() {
        let client = HttpClient::new(None).unwrap();
        let (_large, url) = server(ResponseTemplate::new(200).set_body_string("{ }")).await;
        assert!(matches!(
            client.fetch_json(&url, 2).await,
            Err(FetchFault::TooLarge(2))
        ));
        let (_moved, url) = server(ResponseTemplate::new(302).insert_header("location", "/other")).await;
        assert!(matches!(
            client.fetch_json(&url, 2).await,
            Err(FetchFault::Status(302))
        ));
    }

    #[tokio::test]
    async fn posts_a_form_with_the_credentials_encoded_first() {
        let server = MockServer::start().await;
        let expected = "Basic YXBwOmElMkJiJTNBYw==";
        Mock::given(method("POST"))
            .and(path("/token"))
            .and(header("authorization", expected))
            .and(body_string("code=a%26b&x=1+2"))
            .respond_with(ResponseTemplate::new(200).set_body_string("{}"))
            .mount(&server)
            .await;
        let url = format!("{}/token", server.uri()).parse().unwrap();
        let client = HttpClient::new(None).unwrap();
        let (form, secret) = ([("code", "a&b"), ("x", "1 2")], Secret::from("a+b:c".to_owned()));
        let good = client.post_form(&url, &form, Some(("app", &secret)), 100).await;
        assert_eq!(good.unwrap().body, b"{}");
        let bare = client.post_form(&url, &form, None, 100).await;
        assert!(matches!(bare, Err(FetchFault::Status(404))));
        let far = "http://192.0.2.1/token".parse().unwrap();
        let plain = client.post_form(&far, &form, None, 100).await;
        assert!(matches!(plain, Err(FetchFault::Scheme)));
    }

    #[tokio::test]
    async fn plain_http_stays_on_this_machine() {
        let url = "http://192.0.2.1/doc".parse().unwrap();
        assert!(matches!(
            HttpClient::new(None).unwrap().fetch_json(&url, 2).await,
            Err(FetchFault::Scheme)
        ));
    }
}
