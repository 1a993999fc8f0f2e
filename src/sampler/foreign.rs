//! A target that has executed a program in which there is no Python: when it is to be looked into again, and when enough is
//! enough.

use std::time::{Duration, Instant};

use crate::target::Binary;

/// For how long such a program may still turn out to be Python: its libraries are not mapped at once, and it may be a
/// script that executes Python in turn.
pub const BECOMING: Duration = Duration::from_secs(2);
/// When what maps the same files is looked into again: after so long at first, and twice as long each time.
const FIRST: Duration = Duration::from_millis(20);

/// Programs without Python that a target has become, one after the other.
pub struct Foreign {
    since: Instant,
    binaries: Vec<Binary>,
    due: Instant,
    pause: Duration,
}

impl Foreign {
    /// One that has just been looked into.
    pub fn new(binaries: Vec<Binary>, now: Instant) -> Foreign {
        Foreign { since: now, binaries, due: now + FIRST, pause: FIRST }
    }

    /// Whether it is to be looked into: it maps other files than before, or it is time, for the last time perhaps.
    pub fn is_due(&self, binaries: &[Binary], now: Instant) -> bool {
        self.binaries != binaries || now >= self.due || self.is_over(now)
    }

    /// It was looked into again, and there is no Python in it.
    pub fn look(&mut self, binaries: Vec<Binary>, now: Instant) {
        self.pause = if self.binaries == binaries { (self.pause * 2).min(BECOMING) } else { FIRST };
        self.due = now + self.pause;
        self.binaries = binaries;
    }

    /// Whether nothing is to be expected any more.
    pub fn is_over(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.since) >= BECOMING
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::memory::Addr;

    fn binary(name: &str) -> Binary {
        let (base, base_end) = (Addr(0x1000), Addr(0x2000));
        Binary { path: PathBuf::from(name), base, base_end, device: (0, 0), inode: 1, writable: Vec::new() }
    }

    #[test]
    fn what_stays_as_it_is_is_looked_into_ever_more_seldom() {
        let (begun, shell) = (Instant::now(), vec![binary("sh")]);
        let mut foreign = Foreign::new(shell.clone(), begun);
        let mut looks = Vec::new();
        for after in (0..2000).step_by(10) {
            let now = begun + Duration::from_millis(after);
            assert!(!foreign.is_over(now));
            if foreign.is_due(&shell, now) {
                foreign.look(shell.clone(), now);
                looks.push(after);
            }
        }
        assert_eq!(looks, [20, 60, 140, 300, 620, 1260]);
        assert!(foreign.is_over(begun + BECOMING));
    }

    #[test]
    fn what_maps_another_file_is_looked_into_at_once() {
        let (begun, shell) = (Instant::now(), vec![binary("sh")]);
        let mut foreign = Foreign::new(shell.clone(), begun);
        (0..5).for_each(|_| foreign.look(shell.clone(), begun));
        let now = begun + FIRST;
        assert!(!foreign.is_due(&shell, now));
        let both = vec![binary("sh"), binary("libpython3.15.so")];
        assert!(foreign.is_due(&both, now));
        foreign.look(both.clone(), now);
        assert!(!foreign.is_due(&both, now) && foreign.is_due(&both, now + FIRST));
    }
}
