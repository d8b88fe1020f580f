//! Whether several ways take the same time, after dudect (Reparaz, Balasch, Verbauwhede, 2017): they are measured by
//! turns, in an order drawn anew each time, and compared by Yuen's t of what was measured side by side.
//!
//! Whatever else the machine does meets all ways alike, and the slowest and fastest tenth is left out: noise makes a
//! difference harder to see, and never makes one.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::time::Instant;

/// The part that is left out at either end.
const TRIM: f64 = 0.1;
/// By chance, a t beyond it comes less than once in ten thousand comparisons of forty turns, and less often with more.
const BEYOND_CHANCE: f64 = 5.0;

/// One way of doing something.
pub type Way<'a> = Box<dyn FnMut() + 'a>;

/// By how much one way takes longer than another.
#[derive(Debug, Clone, Copy)]
pub struct Difference {
    /// Yuen's t: the difference, measured in its own uncertainty.
    pub t: f64,
    /// Time over time.
    pub ratio: f64,
}

impl Difference {
    /// Whether it is no chance, and larger than this part of the time. What is smaller can be how the values lie in
    /// memory.
    #[must_use]
    pub fn is_more_than(&self, part: f64) -> bool {
        self.t.abs() > BEYOND_CHANCE && self.ratio.ln().abs() > part.ln_1p()
    }
}

/// Lets every way have `turns` turns, after one that does not count, and compares each but the first with the first.
#[must_use]
pub fn compare(turns: usize, ways: &mut [Way<'_>]) -> Vec<Difference> {
    let mut logs = vec![Vec::with_capacity(turns); ways.len()];
    for turn in 0..=turns {
        for at in order(ways.len()) {
            let start = Instant::now();
            ways[at]();
            let nanoseconds = start.elapsed().as_nanos().max(1);
            if turn > 0 {
                logs[at].push((nanoseconds as f64).ln());
            }
        }
    }
    let Some((first, others)) = logs.split_first() else {
        return Vec::new();
    };
    let with_first = |other: &Vec<f64>| {
        let pairs = other.iter().zip(first);
        yuen(pairs.map(|(other, first)| other - first).collect())
    };
    others.iter().map(with_first).collect()
}

/// Numbers below `length` in an order by chance.
fn order(length: usize) -> Vec<usize> {
    let mut numbers: Vec<(u64, usize)> = (0..length).map(|at| (drawn(), at)).collect();
    numbers.sort_unstable();
    numbers.into_iter().map(|(_, at)| at).collect()
}

fn drawn() -> u64 {
    RandomState::new().build_hasher().finish()
}

/// The trimmed mean over its standard error, which comes of the winsorized variance (Yuen 1974, one sample).
fn yuen(mut values: Vec<f64>) -> Difference {
    values.sort_unstable_by(f64::total_cmp);
    let count = values.len() as f64;
    let cut = (count * TRIM).floor() as usize;
    let kept = &values[cut..values.len() - cut];
    let (Some(least), Some(most)) = (kept.first(), kept.last()) else {
        return Difference { t: 0.0, ratio: 1.0 };
    };
    let mean = kept.iter().sum::<f64>() / kept.len() as f64;
    let winsorized: Vec<f64> = values.iter().map(|value| value.clamp(*least, *most)).collect();
    let center = winsorized.iter().sum::<f64>() / count;
    let squares: f64 = winsorized.iter().map(|value| (value - center).powi(2)).sum();
    let error = (squares / (count - 1.0)).sqrt() / (kept.len() as f64 / count * count.sqrt());
    Difference {
        t: if mean == 0.0 { 0.0 } else { mean / error },
        ratio: mean.exp(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn t_of_known_values() {
        // By hand: the tenth at either end is 1 of 10, the kept are 2 … 9 with mean 5.5; winsorized they have the
        // squares 2·(3.5² + 3.5² + 2.5² + 1.5² + 0.5²) = 66.5.
        let values = [100.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0, -100.0];
        let found = yuen(values.to_vec());
        let error = (66.5_f64 / 9.0).sqrt() / (0.8 * 10.0_f64.sqrt());
        assert!((found.t - 5.5 / error).abs() < 1e-9, "{found:?}");
        assert!((found.ratio - 5.5_f64.exp()).abs() < 1e-9, "{found:?}");
    }

    #[test]
    fn what_takes_longer_is_seen_and_what_does_not_is_not() {
        let spin = |rounds: u64| {
            move || {
                let mut sum = 0_u64;
                for round in 0..rounds {
                    sum = std::hint::black_box(sum.wrapping_add(round));
                }
            }
        };
        let ways: [Way<'_>; 3] = [
            Box::new(spin(20_000)),
            Box::new(spin(20_000)),
            Box::new(spin(24_000)),
        ];
        let found = compare(300, &mut Vec::from(ways));
        assert!(!found[0].is_more_than(0.05), "{found:?}");
        assert!(found[1].is_more_than(0.05), "{found:?}");
    }
}
