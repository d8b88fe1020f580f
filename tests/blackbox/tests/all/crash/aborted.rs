//! DUR-04: whoever asks and leaves takes nothing with them: no place at the database, no session.

use std::io::Write as _;
use std::net::TcpStream;
use std::thread;

use blackbox::answers::granted;
use blackbox::{Db, both, length};
use xtask::code_flow::{CodeClient, location};
use xtask::http::{self, Request, Url};

use super::{code_in, refresh_token, stage};

/// Of a short run: far more than the pool has places.
const TIMES: usize = 200;

/// Sends so much of a request, and is gone.
fn ask_and_go(client: &CodeClient, form: &[(&str, &str)], part: f64) {
    let url = format!("{}/oauth/token", client.issuer);
    let bytes = Request::post(&url).unwrap().form(form).bytes(false);
    let length = (bytes.len() as f64 * part) as usize;
    let mut stream = TcpStream::connect(Url::parse(&url).unwrap().socket()).unwrap();
    // The server may have hung up on half a request before.
    stream.write_all(&bytes[..length]).ok();
}

both!(dur_04_who_leaves_takes_nothing_with_them);
fn dur_04_who_leaves_takes_nothing_with_them(db: Db) {
    let (fleet, client) = stage(db, None);
    let code = || code_in(&location(&http::get(&client.authorization_url()).unwrap()).unwrap());
    let kept = code();
    let newest = refresh_token(&client.ask(&client.redemption(&code())).unwrap());
    let times = length::of_faults().map_or(TIMES, |_| 10_000);
    thread::scope(|scope| {
        for worker in 0..4 {
            let (client, newest, kept) = (&client, &newest, &kept);
            scope.spawn(move || {
                for turn in 0..times / 4 {
                    match (turn + worker) % 3 {
                        // Half a request redeems nothing.
                        0 => ask_and_go(client, &client.redemption(kept), 0.9),
                        1 => ask_and_go(client, &client.renewal(newest), 1.0),
                        _ => ask_and_go(client, &client.renewal("ehr_unknown"), 1.0),
                    }
                }
            });
        }
    });
    granted(&client.ask(&client.redemption(&kept)).unwrap());
    let next = client.ask(&client.renewal(&newest)).unwrap();
    granted(&next);
    granted(&client.ask(&client.renewal(&refresh_token(&next))).unwrap());
    assert_eq!(http::get(&fleet.at("/readyz")).unwrap().status, 200);
}
