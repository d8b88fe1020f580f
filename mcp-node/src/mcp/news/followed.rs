//! Resources that somebody waits for, and who does: what can be watched of them is shared out among those.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// By who waits, how many of their streams wait for each resource.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Followed(BTreeMap<Arc<str>, BTreeMap<String, usize>>);

impl Followed {
    /// How many streams wait for this resource.
    pub fn count(&self, uri: &str) -> usize {
        self.0.values().filter_map(|uris| uris.get(uri)).sum()
    }

    /// Whether nobody waits for anything.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// At most `most` of what `pick` makes of them. All who wait get one after the other in turn, so that nobody takes the
    /// places of somebody who wants fewer; what several wait for takes one place.
    pub fn shared_out<T: Ord>(&self, most: usize, pick: impl Fn(&str) -> Option<T>) -> BTreeSet<T> {
        let mut taken = BTreeSet::new();
        let mut waiting: Vec<_> = self.0.values().map(BTreeMap::keys).collect();
        while !waiting.is_empty() {
            waiting.retain_mut(|uris| {
                let mut picked = uris.filter_map(|uri| pick(uri));
                let next = picked.find(|one| !taken.contains(one));
                match next.filter(|_| taken.len() < most) {
                    Some(one) => taken.insert(one),
                    None => false,
                }
            });
        }
        taken
    }

    pub(super) fn add(&mut self, who: &Arc<str>, uris: &[String]) {
        let own = self.0.entry(Arc::clone(who)).or_default();
        for uri in uris {
            *own.entry(uri.clone()).or_default() += 1;
        }
    }

    pub(super) fn remove(&mut self, who: &Arc<str>, uris: &[String]) {
        let Some(own) = self.0.get_mut(who) else {
            return;
        };
        for uri in uris {
            if let Some(count) = own.get_mut(uri) {
                *count -= 1;
                if *count == 0 {
                    own.remove(uri);
                }
            }
        }
        if own.is_empty() {
            self.0.remove(who);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_wants_much_leaves_places_for_who_wants_little() {
        let mut followed = Followed::default();
        let add = |followed: &mut Followed, who: &str, uris: &[String]| followed.add(&who.into(), uris);
        let many: Vec<String> = (0..1000).map(|n| format!("a{n:04}")).collect();
        add(&mut followed, "greedy", &many);
        add(&mut followed, "modest", &["z1".to_owned(), "a0000".to_owned()]);
        add(&mut followed, "other", &["z2".to_owned(), "elsewhere".to_owned()]);
        let pick = |uri: &str| (uri != "elsewhere").then(|| uri.to_owned());
        let shared = followed.shared_out(10, pick);
        assert_eq!(shared.len(), 10);
        assert!(
            ["a0000", "z1", "z2"].iter().all(|uri| shared.contains(*uri)),
            "{shared:?}"
        );
        assert!(!shared.contains("elsewhere"));
        // Where there is room for all, all are there, and none twice.
        assert_eq!(followed.shared_out(2000, pick).len(), 1002);
        assert!(followed.shared_out(0, pick).is_empty());
        followed.remove(&"greedy".into(), &many);
        assert_eq!(followed.shared_out(10, pick).len(), 3);
    }
}
