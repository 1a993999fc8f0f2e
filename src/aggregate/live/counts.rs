//! What is counted of a thread in a stack, and which of it counts.

use std::ops::AddAssign;

/// For how many slots of the clock something was seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// In all.
    pub seen: u64,
    /// Running.
    pub ran: u64,
    /// Holding the GIL.
    pub held: u64,
    /// Waiting for the GIL.
    pub wanted: u64,
    /// Held up by others: waiting for a lock, or for the world to go on.
    pub blocked: u64,
    /// Threads that waited for the GIL while it was held here, added up.
    pub blamed: u64,
    /// Holding the GIL, of a thread that is not wanted; counted nowhere else.
    pub held_unwanted: u64,
}

impl AddAssign for Counts {
    fn add_assign(&mut self, other: Counts) {
        self.seen += other.seen;
        self.ran += other.ran;
        self.held += other.held;
        self.wanted += other.wanted;
        self.blocked += other.blocked;
        self.blamed += other.blamed;
        self.held_unwanted += other.held_unwanted;
    }
}

impl Counts {
    /// Holding the GIL, wanted or not: what blame is to be compared with.
    pub fn held_by_any(&self) -> u64 {
        self.held + self.held_unwanted
    }
}

/// Which samples count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Mode {
    /// Those of threads that run.
    #[default]
    Cpu,
    /// All.
    Wall,
    /// Those of threads that hold a GIL.
    Gil,
}

impl Mode {
    /// Every one, in the order in which they are gone through.
    pub const ALL: [Mode; 3] = [Mode::Cpu, Mode::Wall, Mode::Gil];

    /// What counts of `counts`.
    pub fn of(self, counts: &Counts) -> u64 {
        match self {
            Mode::Cpu => counts.ran,
            Mode::Wall => counts.seen,
            Mode::Gil => counts.held,
        }
    }

    /// As it is typed.
    pub fn name(self) -> &'static str {
        match self {
            Mode::Cpu => "cpu",
            Mode::Wall => "wall",
            Mode::Gil => "gil",
        }
    }
}
