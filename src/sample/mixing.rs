//! How far stacks are mixtures of moments, where nobody was stopped while they were read.
//!
//! Only those of threads that were seen to run are looked at. One that slept at that look, and woke up in the microsecond
//! in which it was read, is in no number here.

/// What is known of stacks that were read from running threads. A call in such a stack can often be proved: the caller still
/// names the function that it called. One that differs proves a mixture.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Mixing {
    /// Stacks that were kept.
    pub kept: u64,
    /// Stacks that were found to be mixtures, and left out.
    pub found: u64,
    /// Calls in the stacks kept that were proved.
    pub proved: u64,
    /// Calls in the stacks kept of which nothing is known: into C and out of it again, of generators, and those that never
    /// name what they call.
    pub open: u64,
    /// Stacks kept in which a call names something else than what was called, though such calls usually do not.
    pub doubtful: u64,
}

impl Mixing {
    /// Adds what is known of the stacks of another process.
    pub fn add(&mut self, other: &Mixing) {
        self.kept += other.kept;
        self.found += other.found;
        self.proved += other.proved;
        self.open += other.open;
        self.doubtful += other.doubtful;
    }

    /// How many of the stacks kept are mixtures, estimated: those that are doubtful, and among the calls of which nothing is
    /// known as many as were found among the others. `None` where nothing can be proved.
    pub fn estimate(&self) -> Option<f64> {
        let mixed = self.found + self.doubtful;
        let among_open = match (self.open, self.proved + mixed) {
            (0, _) => 0.0,
            (_, 0) => return None,
            (open, known) => open as f64 * mixed as f64 / known as f64,
        };
        Some((self.doubtful as f64 + among_open).min(self.kept as f64))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_proved_is_as_often_a_mixture_as_what_can() {
        let mixing = Mixing { kept: 1000, found: 6, doubtful: 4, proved: 9990, open: 500 };
        assert_eq!(mixing.estimate(), Some(4.5));
        assert_eq!(Mixing { found: 0, doubtful: 0, ..mixing }.estimate(), Some(0.0));
        assert_eq!(Mixing { open: 0, ..mixing }.estimate(), Some(4.0));
    }

    #[test]
    fn where_nothing_can_be_proved_nothing_is_known() {
        assert_eq!(Mixing { kept: 1000, open: 500, ..Mixing::default() }.estimate(), None);
    }

    #[test]
    fn no_more_are_mixtures_than_were_kept() {
        assert_eq!(Mixing { kept: 3, found: 9, proved: 1, open: 500, doubtful: 0 }.estimate(), Some(3.0));
    }
}
