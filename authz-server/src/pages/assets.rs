//! The three files that pages load, compiled in. Their addresses carry a hash, so browsers may keep them for long.

use std::sync::LazyLock;

use actix_web::http::StatusCode;
use actix_web::http::header::{
    CACHE_CONTROL, CONTENT_TYPE, ETAG, EntityTag, Header, IF_NONE_MATCH, IfNoneMatch,
};
use actix_web::{HttpRequest, HttpResponse};
use shared::jose::sha256_base64url;

/// One file.
struct Asset {
    name: &'static str,
    media_type: &'static str,
    body: &'static str,
    /// The beginning of its SHA-256, base64url.
    hash: String,
}

impl Asset {
    fn new(name: &'static str, media_type: &'static str, body: &'static str) -> Self {
        let mut hash = sha256_base64url(body.as_bytes());
        hash.truncate(16);
        Self {
            name,
            media_type,
            body,
            hash,
        }
    }
}

static STYLE: LazyLock<Asset> = LazyLock::new(|| {
    let body = include_str!("../../templates/assets/style.css");
    Asset::new("style.css", "text/css; charset=utf-8", body)
});
static PASSKEY: LazyLock<Asset> = LazyLock::new(|| {
    let body = include_str!("../../templates/assets/passkey.js");
    Asset::new("passkey.js", "text/javascript; charset=utf-8", body)
});
static MARK: LazyLock<Asset> = LazyLock::new(|| {
    let body = include_str!("../../templates/assets/mark.svg");
    Asset::new("mark.svg", "image/svg+xml", body)
});

/// Where `name` is, with its hash.
pub(super) fn address(base: &str, name: &str) -> String {
    let found = [&STYLE, &PASSKEY, &MARK]
        .into_iter()
        .find(|asset| asset.name == name);
    let hash = found.map_or("", |asset| asset.hash.as_str());
    format!("{base}/assets/{name}?v={hash}")
}

/// `GET /assets/style.css`.
pub(crate) async fn style(request: HttpRequest) -> HttpResponse {
    answer(&STYLE, &request)
}

/// `GET /assets/passkey.js`.
pub(crate) async fn passkey_script(request: HttpRequest) -> HttpResponse {
    answer(&PASSKEY, &request)
}

/// `GET /assets/mark.svg`.
pub(crate) async fn mark(request: HttpRequest) -> HttpResponse {
    answer(&MARK, &request)
}

fn answer(asset: &Asset, request: &HttpRequest) -> HttpResponse {
    let tag = EntityTag::new_strong(asset.hash.clone());
    // An address with another hash is an older page's: what it gets must not be kept as that.
    let keep = if request.query_string() == format!("v={}", asset.hash) {
        "public, max-age=31536000, immutable"
    } else {
        "public, max-age=300"
    };
    let known = is_known(request, &tag);
    let status = if known {
        StatusCode::NOT_MODIFIED
    } else {
        StatusCode::OK
    };
    let mut answer = HttpResponse::build(status);
    answer
        .insert_header((ETAG, tag.to_string()))
        .insert_header((CACHE_CONTROL, keep))
        .insert_header((CONTENT_TYPE, asset.media_type));
    if known {
        answer.finish()
    } else {
        answer.body(asset.body)
    }
}

/// RFC 9110 §13.1.2.
fn is_known(request: &HttpRequest, tag: &EntityTag) -> bool {
    if !request.headers().contains_key(IF_NONE_MATCH) {
        return false;
    }
    match IfNoneMatch::parse(request) {
        Ok(IfNoneMatch::Any) => true,
        Ok(IfNoneMatch::Items(known)) => known.iter().any(|known| known.weak_eq(tag)),
        Err(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use actix_web::body::to_bytes;
    use actix_web::test::TestRequest;

    use super::*;

    #[actix_web::test]
    async fn a_browser_that_has_the_file_is_not_sent_it_again() {
        let uri = address("/hive", "style.css");
        let first = style(TestRequest::get().uri(&uri).to_http_request()).await;
        assert_eq!(first.status(), StatusCode::OK);
        assert_eq!(
            first.headers().get(CACHE_CONTROL).unwrap(),
            "public, max-age=31536000, immutable"
        );
        let tag = first.headers().get(ETAG).unwrap().clone();
        assert!(!to_bytes(first.into_body()).await.unwrap().is_empty());
        let again = TestRequest::get()
            .uri(&uri)
            .insert_header((IF_NONE_MATCH, tag.clone()));
        let again = style(again.to_http_request()).await;
        assert_eq!(again.status(), StatusCode::NOT_MODIFIED);
        assert_eq!(again.headers().get(ETAG).unwrap(), tag);
        assert!(to_bytes(again.into_body()).await.unwrap().is_empty());
    }

    #[actix_web::test]
    async fn what_an_older_page_asks_for_is_not_kept_for_long() {
        let old = TestRequest::get()
            .uri("/assets/passkey.js?v=older")
            .to_http_request();
        let answer = passkey_script(old).await;
        assert_eq!(
            answer.headers().get(CACHE_CONTROL).unwrap(),
            "public, max-age=300"
        );
        assert_eq!(
            answer.headers().get(CONTENT_TYPE).unwrap(),
            "text/javascript; charset=utf-8"
        );
    }
}
