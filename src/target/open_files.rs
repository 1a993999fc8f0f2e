//! How many files this process may keep open, and who shares them: the targets that are looked at often.

use std::fs;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use rustix::process::{Resource, Rlimit, setrlimit};

/// Files that are not shared: what we have open besides, and to look at who is new.
const OURS: usize = 64;
/// Files that are kept open for a thread, and one more, for a target of a single one.
const OF_A_THREAD: usize = 4;
/// Threads whose files are kept open at most.
const MOST_THREADS: usize = 1 << 14;
/// Files that a process may usually open.
const USUAL: usize = 1024;

/// How many shares there are.
static SHARES: AtomicUsize = AtomicUsize::new(0);

/// The share of one target. It is given back when this is dropped.
#[derive(Debug)]
pub struct Share(());

impl Share {
    /// One more, so that all others become less. The first raises the number of files that this process may open.
    pub fn new() -> Share {
        limit();
        SHARES.fetch_add(1, Ordering::Relaxed);
        Share(())
    }

    /// For how many threads files may be kept open as of now; maybe for none.
    pub fn threads(&self) -> usize {
        threads(limit(), SHARES.load(Ordering::Relaxed))
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        SHARES.fetch_sub(1, Ordering::Relaxed);
    }
}

fn threads(limit: usize, shares: usize) -> usize {
    (limit.saturating_sub(OURS) / OF_A_THREAD).min(MOST_THREADS) / shares.max(1)
}

/// How many files this process may open, having been raised to what it may be raised to.
fn limit() -> usize {
    static LIMIT: OnceLock<usize> = OnceLock::new();
    *LIMIT.get_or_init(|| raise().unwrap_or(USUAL))
}

fn raise() -> Option<usize> {
    let limits = fs::read_to_string("/proc/self/limits").ok()?;
    let mut numbers = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?.split_ascii_whitespace();
    let soft: Option<u64> = numbers.next()?.parse().ok();
    let hard: Option<u64> = numbers.next()?.parse().ok();
    // Unlike to ask for the limit, to set it may fail: a filter may forbid it.
    let limit = setrlimit(Resource::Nofile, Rlimit { current: hard, maximum: hard }).map_or(soft, |()| hard);
    Some(limit.map_or(usize::MAX, |files| usize::try_from(files).unwrap_or(usize::MAX)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_together_keep_less_open_than_they_may() {
        for limit in [0, 20, 64, 128, 1024, 1 << 20] {
            for shares in [1, 2, 100, 1000] {
                let threads = threads(limit, shares);
                let files = (threads * 3 + threads.min(1)) * shares;
                assert!(files <= limit.saturating_sub(OURS), "{limit} {shares}");
            }
        }
        assert_eq!((threads(1024, 1), threads(1024, 100), threads(20, 1)), (240, 2, 0));
    }
}
