//! `[login]`: how people sign in, and for how long.

use std::time::Duration;

use shared::config::{Reader, Span};

/// How people sign in.
#[derive(Clone, Debug)]
pub(crate) struct Login {
    /// Whether accounts have passwords.
    pub(crate) passwords: bool,
    /// Whether accounts have passkeys.
    pub(crate) passkeys: bool,
    /// How long a browser stays signed in at most.
    pub(crate) session_ttl: Duration,
    /// How long it may do nothing meanwhile.
    pub(crate) session_idle: Duration,
    /// Whether clients may be approved without a person; for tests on loopback.
    pub(crate) testing_door: bool,
}

impl Login {
    /// Reads the section. `is_local` tells whether the issuer and every listen address are this machine.
    pub(super) fn read(reader: &mut Reader, is_local: bool) -> Self {
        let mut login = reader.section("login");
        let read = Self {
            passwords: login.value("passwords", "true").unwrap_or(true),
            passkeys: login.value("passkeys", "true").unwrap_or(true),
            session_ttl: span(&mut login, "session_ttl", "12h"),
            session_idle: span(&mut login, "session_idle", "2h"),
            testing_door: login.value("testing_door", "false").unwrap_or(false),
        };
        if read.testing_door && !is_local {
            let reason = "opens the server to everyone; it is for tests, where issuer and listen addresses are loopback over plain http";
            login.fault("testing_door", reason);
        }
        read
    }
}

fn span(section: &mut shared::config::Section<'_>, key: &str, default: &str) -> Duration {
    let read: Option<Span> = section.value(key, default);
    let span = read.map_or(Duration::ZERO, |span| span.0);
    if span.is_zero() && read.is_some() {
        section.fault(key, "must be longer than nothing");
    }
    span
}
