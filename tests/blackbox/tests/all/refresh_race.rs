//! RT-01, RT-02: processes that share one refresh token lose nothing; a thief does. `cargo xtask race` takes longer.

use std::thread;
use std::time::Duration;

use blackbox::fleet::Wishes;
use blackbox::{Db, Fleet, both};
use xtask::code_flow::{CodeClient, TESTING_DOOR};
use xtask::fleet::UNLIMITED_SERVER;
use xtask::shared_token::{self, Figures, Runner};

const SECONDS: u64 = 15;
const WINDOW: u64 = 5;

both!(rt_processes_share_a_token_and_a_thief_ends_it);

fn rt_processes_share_a_token_and_a_thief_ends_it(db: Db) {
    let tokens = format!("\n[tokens]\naccess_ttl = \"4s\"\nrefresh_retry_window = \"{WINDOW}s\"\n");
    let wishes = Wishes {
        server: Some(format!("{UNLIMITED_SERVER}{TESTING_DOOR}{tokens}")),
        ..Wishes::default()
    };
    let fleet = Fleet::start(db, &wishes);
    let client =
        CodeClient::create(&fleet.server, "racer", (&fleet.node.url(), "mcp:read mcp:call")).unwrap();
    let file = fleet.server.folder.join("tokens.json");
    shared_token::store(&file, &client.tokens().unwrap(), 0).unwrap();

    let runners: Vec<_> = (0..8)
        .map(|number| Runner {
            client: client.clone(),
            file: file.clone(),
            number,
            seconds: SECONDS,
        })
        .map(|runner| thread::spawn(move || runner.run().unwrap()))
        .collect();
    let figures = runners
        .into_iter()
        .map(|runner| runner.join().unwrap())
        .fold(Figures::default(), Figures::and);
    assert!(figures.is_good(), "{figures}");

    fleet.remember(&shared_token::refresh_token(&file).unwrap());
    shared_token::steal(&client, &file, Duration::from_secs(WINDOW)).unwrap();
    let event = "refresh_token_replayed";
    assert!(fleet.logs().contains(event), "no {event} in the log");
    let told = fleet.server.json(&["audit", "list", "--event", event]).unwrap();
    assert_eq!(told.as_array().unwrap().len(), 1, "{told}");
    assert_eq!(told[0]["actor"], client.id.as_str());
    fleet.server.json(&["audit", "verify"]).unwrap();
}
