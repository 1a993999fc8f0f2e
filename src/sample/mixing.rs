//! How far stacks are mixtures of moments, where nobody was stopped while they were read.

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
    /// Calls in the stacks kept that could not be.
    pub open: u64,
}

impl Mixing {
    /// How many of the stacks kept are mixtures, estimated: as many of the calls that could not be proved as were found
    /// among the others. `None` where nothing can be proved.
    pub fn estimate(&self) -> Option<f64> {
        let looked_at = self.proved + self.found;
        match (self.open, looked_at) {
            (0, _) => Some(0.0),
            (_, 0) => None,
            _ => Some((self.open as f64 * self.found as f64 / looked_at as f64).min(self.kept as f64)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_proved_is_as_often_a_mixture_as_what_can() {
        assert_eq!(Mixing { kept: 1000, found: 10, proved: 9990, open: 500 }.estimate(), Some(0.5));
        assert_eq!(Mixing { kept: 1000, found: 0, proved: 9990, open: 500 }.estimate(), Some(0.0));
        assert_eq!(Mixing { kept: 1000, found: 10, proved: 9990, open: 0 }.estimate(), Some(0.0));
    }

    #[test]
    fn where_nothing_can_be_proved_nothing_is_known() {
        assert_eq!(Mixing { kept: 1000, found: 0, proved: 0, open: 500 }.estimate(), None);
    }

    #[test]
    fn no_more_are_mixtures_than_were_kept() {
        assert_eq!(Mixing { kept: 3, found: 9, proved: 1, open: 500 }.estimate(), Some(3.0));
    }
}
