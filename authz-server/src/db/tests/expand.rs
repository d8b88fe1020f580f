//! Migrations expand, then contract: what each of them may do while servers of the release before go on.
//!
//! The rules are a list of what is allowed. Anything else needs the name of the oldest release that may serve after it
//! (CONTRIBUTING, "Migrations"), and that release has to be out: it is the one that stopped using what goes.

use std::collections::BTreeSet;

use sqlx::migrate::Migration;

use super::super::migrate::{MIGRATIONS, oldest_after, release};
use super::*;

/// There was no release before it: nobody serves with less.
const FIRST_RELEASE_HAS: i64 = 12;

/// One statement: its words and signs, without comments. Words are in lower case, a text is `'`.
type Statement = Vec<String>;

/// Postgres' dollar quotes, quoted names and `/* */` are in no migration, and so not known here.
fn statements_of(sql: &str) -> Vec<Statement> {
    let (mut all, mut current, mut word) = (Vec::new(), Statement::new(), String::new());
    let mut characters = sql.chars().peekable();
    while let Some(character) = characters.next() {
        if character.is_alphanumeric() || character == '_' || character == '.' {
            word.push(character.to_ascii_lowercase());
            continue;
        }
        if !word.is_empty() {
            current.push(std::mem::take(&mut word));
        }
        match character {
            '-' if characters.peek() == Some(&'-') => {
                characters.by_ref().find(|next| *next == '\n');
            }
            '\'' => {
                characters.by_ref().find(|next| *next == '\'');
                current.push("'".to_owned());
            }
            ';' => all.push(std::mem::take(&mut current)),
            sign if !sign.is_whitespace() => current.push(sign.to_string()),
            _ => {}
        }
    }
    current.extend((!word.is_empty()).then_some(word));
    all.extend((!current.is_empty()).then_some(current));
    all
}

/// What the files so far have added.
#[derive(Default)]
struct Added {
    /// In this file.
    tables: BTreeSet<String>,
    columns: BTreeSet<(String, String)>,
    /// Nobody else reads or writes these until the whole file is done.
    held: BTreeSet<String>,
}

impl Added {
    /// Why a program of the release before cannot go on after this statement.
    fn judge(&mut self, statement: &[String]) -> Result<(), &'static str> {
        let words: Vec<&str> = statement.iter().map(String::as_str).collect();
        match &words[..] {
            ["create", "table", table, "(", columns @ ..] => {
                if columns.last() != Some(&")") || columns.contains(&"inherits") || columns.contains(&"like")
                {
                    return Err("a new table has columns and constraints, and nothing of other tables");
                }
                // Rows that older programs remove would be held by rows that they do not know.
                if count(columns, &["references"]) > count(columns, &["on", "delete", "cascade"]) {
                    return Err("a new table that refers to others says ON DELETE CASCADE");
                }
                self.tables.insert((*table).to_owned());
                Ok(())
            }
            ["create", "index", _, "on", table, "(", rest @ ..] => {
                if self.held.contains(*table) {
                    return Err(
                        "an index takes time, and the file holds the table already: give it a file of its own",
                    );
                }
                let columns = rest.split(|word| *word == ")").next().unwrap_or_default();
                match columns.contains(&"(") || columns.contains(&"'") {
                    false => Ok(()),
                    true => Err("what is computed for an index may fail for what older programs write"),
                }
            }
            ["create", "unique", "index", _, "on", table, ..] if self.tables.contains(*table) => Ok(()),
            ["create", "unique", ..] => Err("older programs may write rows that are not unique"),
            ["alter", "table", table, "add", "column", column, kind, rest @ ..] => {
                if !["text", "bigint", "bytea", "boolean"].contains(kind) {
                    return Err("a column has one of the types that backups know");
                }
                match rest {
                    // A constant: others make Postgres write the table anew.
                    [] | ["null"] | ["default", _] => {}
                    ["not", "null", "default", constant] | ["default", constant, "not", "null"]
                        if *constant != "null" => {}
                    _ => return Err("a new column has a constant default or may be NULL, and no constraint"),
                }
                self.columns.insert(((*table).to_owned(), (*column).to_owned()));
                self.held.insert((*table).to_owned());
                Ok(())
            }
            ["insert", "into", table, ..] if self.tables.contains(*table) => Ok(()),
            ["update", table, "set", column, "=", rest @ ..]
                if !rest.contains(&",")
                    && self
                        .columns
                        .contains(&((*table).to_owned(), (*column).to_owned())) =>
            {
                match self.held.contains(*table) {
                    false => Ok(()),
                    true => Err(
                        "rows are filled in a file after the one that adds the column, which holds the table",
                    ),
                }
            }
            _ => Err("not among what a migration may do beside older programs"),
        }
    }
}

fn count(words: &[&str], of: &[&str]) -> usize {
    words.windows(of.len()).filter(|some| *some == of).count()
}

/// What is wrong with a migration that is to be released after `released` and comes after one that made `added`.
fn judge(migration: &Migration, released: &[[u64; 3]], added: &mut Added) -> Result<(), String> {
    if migration.no_tx {
        return Err("half of it would stay where it fails".to_owned());
    }
    if let Some(oldest) = oldest_after(&migration.description) {
        let oldest = release(oldest).ok_or("its name says no release after \"needs\"")?;
        return match released.contains(&oldest) {
            true => Ok(()),
            false => Err(
                "the release in its name is not out: what is removed must have been unused for a release"
                    .to_owned(),
            ),
        };
    }
    let sql = migration.sql.as_str();
    let mut without_comments = sql.lines().filter_map(|line| line.split("--").next());
    let unread = ["/*", "\"", "$", "E'", "e'", "\\"];
    if without_comments.any(|line| unread.iter().any(|sign| line.contains(sign))) {
        return Err("a sign that this test does not read".to_owned());
    }
    added.tables.clear();
    added.held.clear();
    for statement in statements_of(sql) {
        added
            .judge(&statement)
            .map_err(|reason| format!("{reason}: {}", statement.join(" ")))?;
    }
    Ok(())
}

/// The releases that the changelog dates.
fn released() -> Vec<[u64; 3]> {
    let log = include_str!("../../../../CHANGELOG.md");
    log.lines()
        .filter_map(|line| release(line.strip_prefix("## ")?.split(' ').next()?))
        .collect()
}

#[test]
fn migrations_only_expand_or_say_who_may_serve_after_them() {
    let (released, mut added) = (released(), Added::default());
    for migration in MIGRATIONS.iter().filter(|one| one.version > FIRST_RELEASE_HAS) {
        judge(migration, &released, &mut added)
            .unwrap_or_else(|reason| panic!("{:04}: {reason}", migration.version));
    }
}

#[test]
fn what_older_programs_cannot_ignore_is_seen() {
    let look = |name: &'static str, sql: &'static str| {
        let kind = sqlx::migrate::MigrationType::Simple;
        judge(
            &Migration::new(99, name.into(), kind, sql.into_sql_str(), false),
            &[[0, 2, 0]],
            &mut Added {
                columns: BTreeSet::from([("client".to_owned(), "earlier".to_owned())]),
                ..Added::default()
            },
        )
    };
    for sql in [
        "-- DROP TABLE client; a comment\nCREATE TABLE later (id TEXT PRIMARY KEY, kind TEXT NOT NULL CHECK (kind IN ('a;', 'b')));",
        "CREATE TABLE later (client_id TEXT PRIMARY KEY REFERENCES client (client_id) ON DELETE CASCADE);",
        "CREATE TABLE later (id TEXT, other TEXT); CREATE UNIQUE INDEX later_other ON later (other); INSERT INTO later (id) VALUES ('1');",
        "CREATE INDEX client_name ON client (name) WHERE revoked_at IS NOT NULL;",
        "UPDATE client SET earlier = 'red' WHERE name = 'x';",
        "ALTER TABLE client ADD COLUMN weight BIGINT NOT NULL DEFAULT 0",
    ] {
        assert_eq!(look("add something", sql), Ok(()), "{sql}");
    }
    for sql in [
        "DROP TABLE client;",
        "DROP INDEX client_created;",
        "ALTER TABLE client DROP COLUMN name;",
        "ALTER TABLE client RENAME TO customer;",
        "ALTER TABLE client RENAME COLUMN name TO title;",
        "ALTER TABLE client ADD COLUMN colour TEXT NOT NULL;",
        "ALTER TABLE client ADD COLUMN colour TEXT UNIQUE;",
        "ALTER TABLE client ADD COLUMN colour TEXT CHECK (colour <> name);",
        "ALTER TABLE client ADD COLUMN other TEXT REFERENCES client (client_id);",
        "ALTER TABLE client ADD COLUMN made BIGINT NOT NULL DEFAULT random();",
        "ALTER TABLE client ADD COLUMN made TIMESTAMP;",
        "ALTER TABLE client ALTER COLUMN name SET NOT NULL;",
        "ALTER TABLE client ADD CONSTRAINT one CHECK (name <> '');",
        "CREATE UNIQUE INDEX client_name ON client (name);",
        "CREATE TABLE later (client_id TEXT PRIMARY KEY REFERENCES client (client_id));",
        "CREATE TRIGGER later AFTER INSERT ON client BEGIN SELECT 1; END;",
        "UPDATE client SET name = 'x';",
        "UPDATE client SET earlier = 'red', name = 'x';",
        "ALTER TABLE client ADD COLUMN colour TEXT; UPDATE client SET colour = 'red';",
        "ALTER TABLE client ADD COLUMN colour TEXT; CREATE INDEX client_colour ON client (colour);",
        "ALTER TABLE client ADD COLUMN weight BIGINT NOT NULL DEFAULT NULL;",
        "CREATE INDEX client_number ON client ((CAST(name AS BIGINT)));",
        "CREATE TABLE later (id TEXT) INHERITS (client);",
        "CREATE INDEX one ON client (name) /* don't */; DROP TABLE client; /* isn't */",
        "INSERT INTO audit_head (id, sequence, hash) VALUES (2, 0, '');",
        "DELETE FROM client;",
        "CREATE INDEX one ON client (name); /* and */ DROP TABLE client",
    ] {
        assert!(look("add something", sql).is_err(), "{sql}");
        assert_eq!(look("needs 0.2.0 forget it", sql), Ok(()), "{sql}");
    }
    for name in ["needs 0.3.0 forget it", "needs forget it", "needs"] {
        assert!(look(name, "DROP TABLE client;").is_err(), "{name}");
    }
    // Those of before the first release did all of it, and one that gives a name finds what is meant.
    assert!(
        MIGRATIONS
            .iter()
            .any(|migration| judge(migration, &[], &mut Added::default()).is_err())
    );
}

/// A column that is added moves none that is read, and none is left out where a row is written.
#[test]
fn every_statement_names_its_columns() {
    for statement in statements() {
        let words = statements_of(statement).concat();
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let takes_all = words
            .windows(2)
            .any(|two| matches!(two, ["select" | "returning" | ",", "*"]))
            || words.iter().any(|word| word.ends_with('.'))
            || words
                .windows(4)
                .any(|four| matches!(four, ["insert", "into", _, next] if *next != "("));
        assert!(!takes_all, "{statement}");
    }
}
