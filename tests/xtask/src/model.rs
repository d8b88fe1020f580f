//! `cargo xtask model`: how what nodes send grows with the fleet, up to more nodes than any machine runs.
//!
//! Gossip is played as events: a random mesh, a time on the way for each hop and for judging each message, and nodes
//! that are silently gone. What the authorization server is asked follows from the intervals of the node. The numbers
//! that nodes use stand in [`Fleet`]; nothing here is measured, and docs/fleet.md says so.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use clap::Args;
use xtask::Outcome;
use xtask::shell::say;

/// Nodes of the fleets that are played.
const SIZES: [usize; 4] = [20, 100, 1_000, 10_000];
/// Of a hundred nodes, so many are silently gone.
const GONE: [usize; 2] = [0, 30];
/// Gossipsub's mesh: each node passes a message on to so many others (`mesh_n`), and takes at most so many (`mesh_n_high`).
const MESH: (usize, usize) = (6, 12);
/// How long a question for news waits at the authorization server, in seconds; then it is asked again.
const WAIT: f64 = 25.0;
/// On the way from node to node, in microseconds: a LAN at best, another continent at worst.
const ON_THE_WAY: (u64, u64) = (1_000, 120_000);
/// For judging one list, in microseconds: a signature, and the comparison with what is held.
const JUDGING: u64 = 1_500;
/// In a fleet of so many nodes, what each says of itself every minute reaches all; in a larger one its peers, about so many
/// (`PASSED_ON` in p2p/spread.rs; a node calls ten, and is called by ten).
const ANNOUNCED: (usize, usize) = (250, 20);
/// Each fleet is played with so many meshes; the worst counts.
const MESHES: u64 = 5;

#[derive(Args)]
pub(crate) struct Options {
    /// Bytes of a list as it is sent
    #[arg(long, default_value_t = 7_000)]
    list_bytes: usize,
}

/// One list was changed, and told to one node.
struct Played {
    /// Nodes that have it by gossip alone, of those that are there.
    reached: usize,
    there: usize,
    /// Seconds until 99 of 100 of those have it, and the last.
    most: f64,
    last: f64,
    /// Copies that came to a node, on average and at worst.
    copies: f64,
    worst_copies: usize,
}

pub(crate) fn run(options: &Options) -> Outcome<()> {
    say("one list is changed and told to one node; what is gone is silently gone\n");
    say(format!(
        "{:>7} {:>6} {:>10} {:>8} {:>8} {:>8} {:>7} {:>10} {:>14} {:>14}",
        "nodes",
        "gone",
        "reached",
        "99 % s",
        "last s",
        "copies",
        "worst",
        "KB a node",
        "AS asked, 1/s",
        "announced, 1/s"
    ));
    for nodes in SIZES {
        for gone in GONE {
            let worst = (0..MESHES)
                .map(|seed| play(nodes, gone, &mut Dice(seed)))
                .max_by(|one, other| one.last.total_cmp(&other.last));
            let Some(played) = worst else { continue };
            say(format!(
                "{nodes:>7} {:>6} {:>10} {:>8.2} {:>8.2} {:>8.1} {:>7} {:>10.0} {:>14.1} {:>14.1}",
                format!("{gone} %"),
                format!("{}/{}", played.reached, played.there),
                played.most,
                played.last,
                played.copies,
                played.worst_copies,
                played.copies * options.list_bytes as f64 / 1000.0,
                nodes as f64 / WAIT,
                announced(nodes),
            ));
        }
    }
    say(format!(
        "\nquiet: each node asks the authorization server once in {WAIT} s, and gossip tells nothing"
    ));
    Ok(())
}

/// Announcements of others that reach a node each second.
fn announced(nodes: usize) -> f64 {
    let heard = match nodes <= ANNOUNCED.0 {
        true => nodes - 1,
        false => ANNOUNCED.1,
    };
    heard as f64 / 60.0
}

/// Plays one change in a fleet of `nodes`.
fn play(nodes: usize, gone_of_a_hundred: usize, dice: &mut Dice) -> Played {
    let mesh = mesh(nodes, dice);
    // The first one is there: it learned of the change.
    let there: Vec<bool> = (0..nodes)
        .map(|node| node == 0 || dice.below(100) >= gone_of_a_hundred as u64)
        .collect();
    let mut has_since: Vec<Option<u64>> = vec![None; nodes];
    let mut copies = vec![0_usize; nodes];
    let mut events = BinaryHeap::from([Reverse((0_u64, 0_usize, 0_usize))]);
    while let Some(Reverse((at, node, from))) = events.pop() {
        if !there[node] {
            continue;
        }
        copies[node] += 1;
        if has_since[node].is_some() {
            continue;
        }
        has_since[node] = Some(at);
        for &next in mesh[node].iter().filter(|next| **next != from) {
            let way = ON_THE_WAY.0 + dice.below(ON_THE_WAY.1 - ON_THE_WAY.0);
            events.push(Reverse((at + JUDGING + way, next, node)));
        }
    }
    let mut times: Vec<u64> = has_since.iter().flatten().copied().collect();
    times.sort_unstable();
    let there = there.iter().filter(|there| **there).count();
    let seconds = |at: usize| times.get(at).map_or(0.0, |micros| *micros as f64 / 1e6);
    Played {
        reached: times.len(),
        there,
        most: seconds((times.len() * 99).div_ceil(100).saturating_sub(1)),
        last: seconds(times.len().saturating_sub(1)),
        copies: copies.iter().sum::<usize>() as f64 / there as f64,
        worst_copies: copies.iter().copied().max().unwrap_or_default(),
    }
}

/// For each node those that it passes messages on to. Each asks for neighbours until it has enough; who has too many
/// refuses.
fn mesh(nodes: usize, dice: &mut Dice) -> Vec<Vec<usize>> {
    let mut mesh = vec![Vec::new(); nodes];
    for node in 0..nodes {
        // In a small fleet everybody may be full already.
        for _ in 0..100 {
            if mesh[node].len() >= MESH.0.min(nodes - 1) {
                break;
            }
            let other = dice.below(nodes as u64) as usize;
            if other != node && mesh[other].len() < MESH.1 && !mesh[node].contains(&other) {
                mesh[node].push(other);
                mesh[other].push(node);
            }
        }
    }
    mesh
}

/// `SplitMix64`: the same numbers for the same seed, everywhere.
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % limit
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_reaches_every_node_that_is_there_in_time() {
        for nodes in SIZES {
            let played = play(nodes, 0, &mut Dice(1));
            assert_eq!(played.reached, nodes);
            assert!(played.last < 10.0, "{nodes}: {} s", played.last);
            assert!(played.worst_copies <= MESH.1, "{nodes}");
        }
    }

    #[test]
    fn no_fleet_is_so_large_that_nodes_hear_of_each_other_all_the_time() {
        assert!(
            SIZES
                .into_iter()
                .chain([250, 251])
                .all(|nodes| announced(nodes) < 5.0)
        );
        assert!(announced(20) > 0.3 && announced(10_000) > 0.3);
    }

    #[test]
    fn who_is_gone_hears_and_passes_on_nothing() {
        let played = play(1_000, 30, &mut Dice(1));
        assert!((600..800).contains(&played.there), "{}", played.there);
        assert!(played.reached <= played.there);
        // Nobody there, nobody reached but the first.
        assert_eq!(play(1_000, 100, &mut Dice(1)).reached, 1);
    }
}
