//! The files of the console, compiled in.

use std::sync::LazyLock;

use actix_web::http::header::{
    CONTENT_SECURITY_POLICY, HeaderName, HeaderValue, REFERRER_POLICY, X_FRAME_OPTIONS,
};
use actix_web::{HttpRequest, HttpResponse};
use shared::jose::sha256_base64url;

use crate::conditional::{self, Tagged};

/// One file.
pub(super) struct File {
    /// Below the address of the console.
    pub(super) path: &'static str,
    content_type: &'static str,
    body: &'static str,
    etag: String,
}

/// No script, style, picture or address but ours, no frame around it, no form that is sent anywhere; and no text becomes
/// markup, since nothing may make a string into it (Trusted Types).
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
                      base-uri 'none'; frame-ancestors 'none'; form-action 'none'; \
                      require-trusted-types-for 'script'; trusted-types 'none'";
const OPENER_POLICY: HeaderName = HeaderName::from_static("cross-origin-opener-policy");

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";

macro_rules! files {
    ($($path:literal, $content_type:ident, $file:literal;)*) => {
        [$(File::new($path, $content_type, include_str!(concat!("../../console/", $file)))),*]
    };
}

static FILES: LazyLock<[File; 23]> = LazyLock::new(|| {
    files! {
        "", HTML, "index.html";
        "/console.css", CSS, "console.css";
        "/api.js", SCRIPT, "api.js";
        "/dom.js", SCRIPT, "dom.js";
        "/main.js", SCRIPT, "main.js";
        "/parts.js", SCRIPT, "parts.js";
        "/plots.js", SCRIPT, "plots.js";
        "/signin.js", SCRIPT, "signin.js";
        "/time.js", SCRIPT, "time.js";
        "/views/approvals.js", SCRIPT, "views/approvals.js";
        "/views/audit.js", SCRIPT, "views/audit.js";
        "/views/clients.js", SCRIPT, "views/clients.js";
        "/views/fleet.js", SCRIPT, "views/fleet.js";
        "/views/grants.js", SCRIPT, "views/grants.js";
        "/views/keys.js", SCRIPT, "views/keys.js";
        "/views/new-client.js", SCRIPT, "views/new-client.js";
        "/views/overview.js", SCRIPT, "views/overview.js";
        "/views/people.js", SCRIPT, "views/people.js";
        "/views/resources.js", SCRIPT, "views/resources.js";
        "/views/settings.js", SCRIPT, "views/settings.js";
        "/views/snippets.js", SCRIPT, "views/snippets.js";
        "/views/tokens.js", SCRIPT, "views/tokens.js";
        "/views/users.js", SCRIPT, "views/users.js";
    }
});

impl File {
    fn new(path: &'static str, content_type: &'static str, body: &'static str) -> Self {
        Self {
            path,
            content_type,
            body,
            etag: format!("\"{}\"", sha256_base64url(body.as_bytes())),
        }
    }
}

pub(super) fn all() -> impl Iterator<Item = &'static File> {
    FILES.iter()
}

/// A file as an answer. Browsers ask each time whether they have the newest: modules name each other without a hash, and
/// two versions at once would not understand one another.
pub(super) fn answer(request: &HttpRequest, file: &'static File) -> HttpResponse {
    let mut answer = conditional::answer(
        request,
        Tagged {
            etag: &file.etag,
            content_type: file.content_type,
            cache_control: "no-cache",
            body: file.body,
        },
    );
    let headers = answer.headers_mut();
    for (name, value) in [
        (CONTENT_SECURITY_POLICY, POLICY),
        (X_FRAME_OPTIONS, "DENY"),
        (REFERRER_POLICY, "no-referrer"),
        (OPENER_POLICY, "same-origin"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    answer
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;

    use super::*;

    fn scripts() -> impl Iterator<Item = &'static File> {
        all().filter(|file| file.content_type == SCRIPT)
    }

    #[test]
    fn every_file_of_the_folder_is_served() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("console");
        let mut there = BTreeSet::new();
        for folder in [root.clone(), root.join("views")] {
            for entry in std::fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_file() {
                    there.insert(format!("/{}", path.strip_prefix(&root).unwrap().display()));
                }
            }
        }
        let served: BTreeSet<_> = all().map(|file| file.path.to_owned()).collect();
        there.remove("/index.html");
        there.insert(String::new());
        assert_eq!(served, there);
    }

    #[test]
    fn no_script_makes_markup_of_text() {
        for file in scripts() {
            for word in [
                "innerHTML",
                "outerHTML",
                "insertAdjacentHTML",
                "document.write",
                "eval(",
                "new Function",
                "DOMParser",
                "createContextualFragment",
                "localStorage",
                "javascript:",
                "setHTML",
            ] {
                assert!(!file.body.contains(word), "{}: {word}", file.path);
            }
        }
    }

    #[test]
    fn what_scripts_import_is_there() {
        let paths: BTreeSet<_> = all().map(|file| file.path).collect();
        for file in scripts() {
            let folder = file.path.rsplit_once('/').unwrap().0;
            // Others stand in what is shown, as lines to copy.
            for line in file
                .body
                .lines()
                .filter(|line| line.starts_with("import ") && line.contains("from '."))
            {
                let name = line.rsplit('\'').nth(1).unwrap();
                let path = match name.strip_prefix("../") {
                    Some(above) => format!("/{above}"),
                    None => format!("{folder}/{}", name.strip_prefix("./").unwrap()),
                };
                assert!(paths.contains(path.as_str()), "{}: {line}", file.path);
            }
        }
    }

    #[test]
    fn no_file_is_longer_than_the_house_allows() {
        for file in all() {
            assert!(file.body.lines().count() <= 400, "{}", file.path);
        }
    }
}
