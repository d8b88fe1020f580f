//! What is in a backup: lines of JSON. The first says whose database it was and when; then, for each table, a line with its
//! columns and a line for each row; the last says how many rows there were.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::db::catalog::{Column, Kind};
use crate::db::copy::Cell;

/// What a backup says of itself.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct Head {
    /// Whose database it was.
    pub(crate) issuer: String,
    /// Unix seconds; everything that was acknowledged before is in it.
    pub(crate) taken_at: i64,
    /// The version of the program that wrote it.
    pub(crate) program: String,
    /// The migrations that the database had.
    pub(crate) migrations: Vec<i64>,
}

/// A line after the first.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
pub(super) enum Line {
    /// The values of a row, in the order of the columns.
    Row(Vec<Value>),
    Table {
        table: String,
        columns: Vec<Column>,
    },
    End {
        rows: u64,
    },
}

/// As a line has it: bytes in base64.
pub(super) fn value(cell: Cell) -> Value {
    match cell {
        Cell::Text(text) => text.into(),
        Cell::Bigint(number) => number.into(),
        Cell::Bytes(bytes) => bytes.map(|bytes| STANDARD.encode(bytes)).into(),
        Cell::Boolean(truth) => truth.into(),
    }
}

/// The other way round; `None` when it is none of that kind.
pub(super) fn cell(value: Value, kind: Kind) -> Option<Cell> {
    let value = Some(value).filter(|value| !value.is_null());
    Some(match (kind, value) {
        (Kind::Text, None) => Cell::Text(None),
        (Kind::Text, Some(Value::String(text))) => Cell::Text(Some(text)),
        (Kind::Bigint, None) => Cell::Bigint(None),
        (Kind::Bigint, Some(value)) => Cell::Bigint(Some(value.as_i64()?)),
        (Kind::Bytes, None) => Cell::Bytes(None),
        (Kind::Bytes, Some(value)) => Cell::Bytes(Some(STANDARD.decode(value.as_str()?).ok()?)),
        (Kind::Boolean, None) => Cell::Boolean(None),
        (Kind::Boolean, Some(value)) => Cell::Boolean(Some(value.as_bool()?)),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_come_back_as_they_were() {
        let cells = [
            (Cell::Text(Some("ü\"\n".to_owned())), Kind::Text),
            (Cell::Text(None), Kind::Text),
            (Cell::Bigint(Some(i64::MIN)), Kind::Bigint),
            (Cell::Bytes(Some(vec![0, 255])), Kind::Bytes),
            (Cell::Bytes(Some(Vec::new())), Kind::Bytes),
            (Cell::Bytes(None), Kind::Bytes),
            (Cell::Boolean(Some(true)), Kind::Boolean),
        ];
        for (expected, kind) in cells {
            let text = serde_json::to_string(&value(expected.clone())).unwrap();
            let read = cell(serde_json::from_str(&text).unwrap(), kind);
            assert_eq!(read, Some(expected));
        }
        assert_eq!(cell(Value::from(1), Kind::Text), None);
        assert_eq!(cell(Value::from("x"), Kind::Bigint), None);
    }
}
