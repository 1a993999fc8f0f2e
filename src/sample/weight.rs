//! For how much time a moment stands.

use std::num::NonZeroU32;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// For how many slots of the clock a moment stands: for its own, and for those that were left out on purpose since the
/// moment before it. What sums of samples say of time are sums of these; how sure that is goes by the number of samples.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Weight(NonZeroU32);

impl Default for Weight {
    fn default() -> Weight {
        Weight::ONE
    }
}

impl Weight {
    /// Of a moment that stands for its own slot alone.
    pub const ONE: Weight = Weight(NonZeroU32::MIN);

    /// Of a moment since which and the one before it so many slots were left out on purpose.
    pub fn after(left_out: u64) -> Weight {
        let left_out = u32::try_from(left_out).unwrap_or(u32::MAX);
        Weight(NonZeroU32::MIN.saturating_add(left_out))
    }

    /// How many slots it is; `None` for none.
    pub fn of(slots: u64) -> Option<Weight> {
        u32::try_from(slots).ok().and_then(NonZeroU32::new).map(Weight)
    }

    /// How many slots it is.
    pub fn slots(self) -> u64 {
        self.0.get().into()
    }

    /// Whether it is of its own slot alone.
    pub fn is_one(&self) -> bool {
        *self == Weight::ONE
    }

    /// How many slots so many samples alike are, each of this weight.
    pub fn times(self, count: u64) -> u64 {
        self.slots().saturating_mul(count)
    }

    /// For how long it stands before its own slot, where a slot is so long.
    pub fn before(self, period: Duration) -> Duration {
        period.saturating_mul(self.0.get() - 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_stands_for_its_own_slot_and_those_left_out() {
        assert_eq!([0, 3].map(|left_out| Weight::after(left_out).slots()), [1, 4]);
        assert_eq!(Weight::after(u64::MAX).slots(), u64::from(u32::MAX));
        assert_eq!(Weight::ONE.before(Duration::from_millis(10)), Duration::ZERO);
        assert_eq!(Weight::after(3).before(Duration::from_millis(10)), Duration::from_millis(30));
        assert_eq!((Weight::of(0), Weight::of(1), Weight::of(1 << 32)), (None, Some(Weight::ONE), None));
    }
}
