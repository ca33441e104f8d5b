//! Which processes descend from which.

use std::collections::HashMap;

use procfs::process::all_processes;

use super::snapshot::Tgid;

/// These processes and all that descend from them now, each once, parents first. One whose parent has ended belongs to another family.
pub(crate) fn families(heads: &[Tgid]) -> Vec<Tgid> {
    let parents = all_processes().into_iter().flatten().flatten().filter_map(|process| {
        let stat = process.stat().ok()?;
        Some((Tgid(stat.pid.cast_unsigned()), Tgid(stat.ppid.cast_unsigned())))
    });
    with_descendants(heads, parents)
}

/// The same by a list of processes with their parents.
fn with_descendants(heads: &[Tgid], parents: impl Iterator<Item = (Tgid, Tgid)>) -> Vec<Tgid> {
    let mut children = HashMap::<Tgid, Vec<Tgid>>::new();
    for (process, parent) in parents {
        children.entry(parent).or_default().push(process);
    }
    let mut family: Vec<Tgid> = Vec::new();
    let mut next: Vec<Tgid> = heads.to_vec();
    while !next.is_empty() {
        next.retain(|process| !family.contains(process));
        next.sort_unstable_by_key(|process| process.0);
        next.dedup();
        family.extend(&next);
        // Nobody is looked for twice, so parents that go round in a circle, as processes may while they are listed, come to an end.
        next = next.iter().filter_map(|process| children.remove(process)).flatten().collect();
    }
    family
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn our_own_child_descends_from_us() {
        let mut child = std::process::Command::new("sleep").arg("100").spawn().unwrap();
        let family = families(&[Tgid(std::process::id())]);
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(family.contains(&Tgid(child.id())));
        assert_eq!(family.first(), Some(&Tgid(std::process::id())));
    }

    proptest! {
        /// In a list of any parents, circles included: the heads, the children of all members, and nobody else.
        #[test]
        fn a_family_is_closed(parents in prop::collection::hash_map(1_u32..20, 0_u32..20, 0..20), heads in prop::collection::vec(1_u32..20, 0..4)) {
            let heads: Vec<Tgid> = heads.into_iter().map(Tgid).collect();
            let family = with_descendants(&heads, parents.iter().map(|(process, parent)| (Tgid(*process), Tgid(*parent))));
            for process in &family {
                let parent = parents.get(&process.0).map(|parent| Tgid(*parent));
                prop_assert!(heads.contains(process) || parent.is_some_and(|parent| family.contains(&parent)));
                prop_assert_eq!(family.iter().filter(|other| *other == process).count(), 1);
            }
            prop_assert!(heads.iter().all(|head| family.contains(head)));
            for (process, parent) in &parents {
                prop_assert!(!family.contains(&Tgid(*parent)) || family.contains(&Tgid(*process)));
            }
        }
    }
}
