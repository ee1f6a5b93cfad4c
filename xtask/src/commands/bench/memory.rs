//! How much memory processes have: all that this one has started, together.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use camino::Utf8Path;

/// How often is looked.
const STEP: Duration = Duration::from_millis(50);

/// Does `work`, and returns with its result the most memory in bytes that all processes below this one had
/// together meanwhile, as far as looking every 50 milliseconds tells. It is their proportional set size: a page
/// that several have counts once.
pub(super) fn peak_during<T>(work: impl FnOnce() -> T) -> (T, u64) {
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let sampler = scope.spawn(|| {
            let mut peak = 0;
            while !done.load(Ordering::Relaxed) {
                peak = peak.max(resident());
                std::thread::sleep(STEP);
            }
            peak
        });
        let result = work();
        done.store(true, Ordering::Relaxed);
        (result, sampler.join().unwrap_or_default())
    })
}

/// What all processes below this one have now.
fn resident() -> u64 {
    let pids = Utf8Path::new("/proc").read_dir_utf8().into_iter().flatten().flatten();
    let parents: Vec<(u32, u32)> = pids
        .filter_map(|entry| {
            let pid = entry.file_name().parse().ok()?;
            Some((pid, parent(&std::fs::read_to_string(entry.path().join("stat")).ok()?)?))
        })
        .collect();
    let below = descendants(&parents, std::process::id());
    let sizes = below.iter().filter_map(|pid| std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok());
    sizes.filter_map(|text| proportional(&text)).sum()
}

/// The parent, by what the kernel says in `stat`; the name in there may have blanks and brackets.
fn parent(stat: &str) -> Option<u32> {
    stat.rsplit_once(')')?.1.split_ascii_whitespace().nth(1)?.parse().ok()
}

/// All processes below `root`, of which `parents` has each process with its parent.
fn descendants(parents: &[(u32, u32)], root: u32) -> Vec<u32> {
    let mut found = vec![root];
    let mut next = 0;
    while let Some(parent) = found.get(next).copied() {
        found.extend(parents.iter().filter(|(_, its)| *its == parent).map(|(pid, _)| *pid));
        next += 1;
    }
    found.split_off(1)
}

/// The proportional set size in bytes, by what the kernel says in `smaps_rollup`.
fn proportional(text: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix("Pss:"))?;
    Some(line.trim().strip_suffix(" kB")?.parse::<u64>().ok()? * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_kernel_says_is_understood() {
        assert_eq!(parent("7 (a) b (c)) S 42 7 7 0 -1"), Some(42));
        assert_eq!(parent("7"), None);
        let text = "00400000-7fff rollup\nRss:    2000 kB\nPss:                1500 kB\nPss_Anon:  7 kB\n";
        assert_eq!(proportional(text), Some(1500 * 1024));
    }

    #[test]
    fn children_of_children_count_and_strangers_do_not() {
        let parents = [(1, 0), (10, 1), (11, 10), (12, 11), (13, 10), (20, 1), (21, 20)];
        assert_eq!(descendants(&parents, 10), [11, 13, 12]);
        assert!(descendants(&parents, 12).is_empty());
    }
}
