//! Lists come page by page, in an order that an index has: what comes after a moment and an id.

use std::fmt::Write as _;

use serde::{Deserialize, Serialize};

use super::input::Query;
use super::problem::{Code, Problem};

/// Things on a page, unless more or fewer are asked for.
const USUAL: u32 = 50;
/// Things on a page at most (ADM-06).
pub(crate) const MOST: u32 = 200;
/// Bytes of the longest id in a cursor.
const MAX_ID: usize = 2048;
/// What a cursor looks like: a moment and an id, whose bytes are written in hexadecimal digits. Whatever looks so is a
/// place in a list, between two things if there is none at it.
pub(super) const CURSOR: &str = "^-?[0-9]{1,18}[.]([0-9a-f]{2}){0,2048}$";

/// A part of a list.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Page<T> {
    pub(crate) items: Vec<T>,
    /// Asks for what follows; not there on the last page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) next_cursor: Option<String>,
}

/// Which part is asked for: so many after a moment and an id.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Wanted {
    pub(crate) limit: u32,
    pub(crate) after: (i64, String),
}

impl Wanted {
    /// Reads `limit` and `cursor`.
    pub(crate) fn read(query: &mut Query) -> Result<Self, Problem> {
        let limit = query.number("limit", MOST)?.unwrap_or(USUAL);
        let after = match query.take("cursor") {
            None => (i64::MIN, String::new()),
            Some(text) => position(&text).ok_or_else(|| {
                Problem::new(
                    Code::InvalidRequest,
                    "cursor is not the next_cursor of an earlier page",
                )
            })?,
        };
        Ok(Self { limit, after })
    }

    /// One more than are shown: whether there is a next page is seen by it.
    pub(crate) fn rows(&self) -> u32 {
        self.limit + 1
    }

    /// The page of `rows`, of which there may be one too many.
    pub(crate) fn page<R, T>(
        &self,
        mut rows: Vec<R>,
        place: impl Fn(&R) -> (i64, &str),
        view: impl Fn(R) -> T,
    ) -> Page<T> {
        let limit = usize::try_from(self.limit).unwrap_or(usize::MAX);
        let has_more = rows.len() > limit;
        rows.truncate(limit);
        let next_cursor = rows.last().filter(|_| has_more).map(|row| {
            let (at, id) = place(row);
            cursor(at, id)
        });
        Page {
            items: rows.into_iter().map(view).collect(),
            next_cursor,
        }
    }
}

/// Says where a list goes on.
pub(super) fn cursor(at: i64, id: &str) -> String {
    let mut cursor = format!("{at}.");
    for byte in id.bytes() {
        // Writing to a string does not fail.
        let _ = write!(cursor, "{byte:02x}");
    }
    cursor
}

fn position(cursor: &str) -> Option<(i64, String)> {
    let (at, id) = cursor.split_once('.')?;
    let digits = at.strip_prefix('-').unwrap_or(at);
    if digits.len() > 18 || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    // An id is only compared here, and has no character that a database does not take.
    let id = String::from_utf8_lossy(&bytes(id)?).replace(char::is_control, "");
    Some((at.parse().ok()?, id))
}

fn bytes(digits: &str) -> Option<Vec<u8>> {
    let is_digit = |b: u8| b.is_ascii_digit() || matches!(b, b'a'..=b'f');
    if !digits.len().is_multiple_of(2) || digits.len() > 2 * MAX_ID || !digits.bytes().all(is_digit) {
        return None;
    }
    (0..digits.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(digits.get(at..at + 2)?, 16).ok())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(query: &str) -> Result<Wanted, Problem> {
        Wanted::read(&mut Query::read(query, &["limit", "cursor"]).unwrap())
    }

    #[test]
    fn adm_06_a_page_is_bounded_and_a_cursor_is_one_of_ours() {
        assert_eq!(read("").unwrap().limit, USUAL);
        assert_eq!(read("limit=200").unwrap().limit, MOST);
        for bad in [
            "0",
            "-1",
            "201",
            "1000000000",
            "99999999999999999999",
            "1.0",
            "x",
            "+5 ",
        ] {
            assert!(read(&format!("limit={bad}")).is_err(), "{bad}");
        }
        let page = read("limit=2").unwrap().page(
            vec![(1, "a"), (1, "b:c"), (2, "d")],
            |row| (row.0, row.1),
            |row| row.1,
        );
        assert_eq!(page.items, ["a", "b:c"]);
        let cursor = page.next_cursor.unwrap();
        assert_eq!(cursor, "1.623a63");
        let next = read(&format!("cursor={cursor}")).unwrap();
        assert_eq!(next.after, (1, "b:c".to_owned()));
        let last = next.page(vec![(2, "d")], |row| (row.0, row.1), |row| row.1);
        assert!(last.next_cursor.is_none());
        // No id has these; they are places all the same.
        assert_eq!(
            read("cursor=-7.00ff41").unwrap().after,
            (-7, "\u{fffd}A".to_owned())
        );
        for bad in [
            "x",
            "1",
            ".61",
            "-.61",
            "1.6",
            "1.6G",
            "1.4A",
            "+1.61",
            "1234567890123456789.",
            "1. ",
            &format!("1.{}", "61".repeat(2049)),
        ] {
            assert!(read(&format!("cursor={bad}")).is_err(), "{bad}");
        }
    }
}
