//! Token Status Lists as any program reads them that knows the draft.

use std::io::Read;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use flate2::read::ZlibDecoder;
use serde_json::Value;
use xtask::http;

/// Header (0) or claims (1) of a JWT.
///
/// # Panics
/// When it is none.
#[must_use]
pub fn part(token: &str, at: usize) -> Value {
    let part = token.split('.').nth(at).unwrap();
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap()
}

/// The list that a token names, and its place there.
///
/// # Panics
/// When it names none.
#[must_use]
pub fn place(token: &str) -> (String, usize) {
    let status = &part(token, 1)["status"]["status_list"];
    let index = usize::try_from(status["idx"].as_u64().unwrap()).unwrap();
    (status["uri"].as_str().unwrap().to_owned(), index)
}

/// The bit at `index` of a signed list.
///
/// # Panics
/// When it is no list, or is shorter.
#[must_use]
pub fn bit_in(list: &str, index: usize) -> u8 {
    let claims = part(list, 1);
    let packed = claims["status_list"]["lst"].as_str().unwrap();
    let packed = URL_SAFE_NO_PAD.decode(packed).unwrap();
    let mut bytes = Vec::new();
    ZlibDecoder::new(packed.as_slice())
        .read_to_end(&mut bytes)
        .unwrap();
    bytes[index / 8] >> (index % 8) & 1
}

/// What the list says now that a token names: 0 valid, 1 revoked.
///
/// # Panics
/// When there is no such list.
#[must_use]
pub fn bit(token: &str) -> u8 {
    let (uri, index) = place(token);
    let answer = http::get(&uri).unwrap();
    assert_eq!(answer.status, 200, "{answer}");
    bit_in(&answer.text(), index)
}
