//! Answers that others may keep, and ask about again with the tag that stands for them (RFC 9110 §13.1.2).

use actix_web::body::MessageBody;
use actix_web::http::header::{CACHE_CONTROL, CONTENT_TYPE, ETAG, IF_NONE_MATCH};
use actix_web::{HttpRequest, HttpResponse};

/// A document with its tag.
pub(crate) struct Tagged<'a, B> {
    /// Stands for these bytes and no others, in quotes.
    pub(crate) etag: &'a str,
    pub(crate) content_type: &'a str,
    /// The value of `Cache-Control`.
    pub(crate) cache_control: &'a str,
    pub(crate) body: B,
}

/// 200 with the document; 304 without it for whoever has it.
pub(crate) fn answer<B>(request: &HttpRequest, document: Tagged<'_, B>) -> HttpResponse
where
    B: MessageBody + 'static,
{
    let unchanged = is_known(request, document.etag);
    let mut response = if unchanged {
        HttpResponse::NotModified()
    } else {
        HttpResponse::Ok()
    };
    response
        .insert_header((ETAG, document.etag))
        .insert_header((CACHE_CONTROL, document.cache_control));
    if unchanged {
        return response.finish();
    }
    response
        .insert_header((CONTENT_TYPE, document.content_type))
        .body(document.body)
}

/// Whether the caller says that it has what `etag` stands for.
pub(crate) fn is_known(request: &HttpRequest, etag: &str) -> bool {
    let known = request
        .headers()
        .get(IF_NONE_MATCH)
        .and_then(|value| value.to_str().ok());
    known.is_some_and(|list| {
        list.split(',')
            // A proxy that compresses makes the tag a weak one; it is compared without that.
            .map(|tag| tag.trim().trim_start_matches("W/"))
            .any(|tag| tag == etag || tag == "*")
    })
}
