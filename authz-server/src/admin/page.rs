//! Lists come page by page, in an order that an index has: what comes after a moment and an id.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};

use super::input::Query;
use super::problem::{Code, Problem};

/// Things on a page, unless more or fewer are asked for.
const USUAL: u32 = 50;
/// Things on a page at most (ADM-06).
pub(crate) const MOST: u32 = 200;
/// Longest cursor: a number and an id.
const MAX_CURSOR: usize = 4096;

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
    URL_SAFE_NO_PAD.encode(format!("{at}:{id}"))
}

fn position(cursor: &str) -> Option<(i64, String)> {
    if cursor.len() > MAX_CURSOR {
        return None;
    }
    let bytes = URL_SAFE_NO_PAD.decode(cursor).ok()?;
    let text = String::from_utf8(bytes).ok()?;
    let (at, id) = text.split_once(':')?;
    if id.chars().any(char::is_control) {
        return None;
    }
    Some((at.parse().ok()?, id.to_owned()))
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
        let next = read(&format!("cursor={}", page.next_cursor.unwrap())).unwrap();
        assert_eq!(next.after, (1, "b:c".to_owned()));
        let last = next.page(vec![(2, "d")], |row| (row.0, row.1), |row| row.1);
        assert!(last.next_cursor.is_none());
        for bad in ["x", "MQ", "OmE", "MTph%3D", "MToA", &"M".repeat(5000)] {
            assert!(read(&format!("cursor={bad}")).is_err(), "{bad}");
        }
    }
}
