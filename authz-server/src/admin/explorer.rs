//! A page on which every operation can be tried: the document as forms, without anything of another origin. It tells no
//! more than the document does, and sends what is typed into it.

use actix_web::http::header::{CONTENT_SECURITY_POLICY, HeaderValue};
use actix_web::{HttpRequest, HttpResponse};
use shared::jose::sha256_base64url;

use crate::conditional::{self, Tagged};

/// Its own files and the API, and nothing that came in between.
const POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; base-uri 'none'; \
                      frame-ancestors 'none'; form-action 'none'";

/// The page and its files, below `base`.
pub(super) fn files(base: &str) -> [(String, actix_web::Route); 3] {
    [
        (format!("{base}/admin/explorer"), ::web::answer::get().to(page)),
        (
            format!("{base}/admin/explorer/style.css"),
            ::web::answer::get().to(style),
        ),
        (
            format!("{base}/admin/explorer/script.js"),
            ::web::answer::get().to(script),
        ),
    ]
}

async fn page(request: HttpRequest) -> HttpResponse {
    let text = include_str!("../../templates/explorer/page.html");
    let mut answer = file(&request, text, "text/html; charset=utf-8");
    let policy = HeaderValue::from_static(POLICY);
    answer.headers_mut().insert(CONTENT_SECURITY_POLICY, policy);
    answer
}

async fn style(request: HttpRequest) -> HttpResponse {
    let text = include_str!("../../templates/explorer/style.css");
    file(&request, text, "text/css; charset=utf-8")
}

async fn script(request: HttpRequest) -> HttpResponse {
    let text = include_str!("../../templates/explorer/script.js");
    file(&request, text, "text/javascript; charset=utf-8")
}

fn file(request: &HttpRequest, body: &'static str, content_type: &str) -> HttpResponse {
    let document = Tagged {
        etag: &format!("\"{}\"", sha256_base64url(body.as_bytes())),
        content_type,
        cache_control: "no-cache",
        body,
    };
    conditional::answer(request, document)
}
