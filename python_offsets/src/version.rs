//! Python's version number, in the packed form that `PY_VERSION_HEX` has.

use std::fmt;

/// How finished a release is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// `a`: fields may still move.
    Alpha,
    /// `b`: fields may still move.
    Beta,
    /// `rc`.
    Candidate,
    /// A release.
    Final,
}

/// A version of Python, such as 3.13.0rc2.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version {
    /// 3 in 3.13.0rc2.
    pub major: u8,
    /// 13 in 3.13.0rc2.
    pub minor: u8,
    /// 0 in 3.13.0rc2.
    pub micro: u8,
    /// `rc` in 3.13.0rc2.
    pub level: Level,
    /// 2 in 3.13.0rc2; 0 for a release.
    pub serial: u8,
}

impl Version {
    /// A final release.
    pub const fn release(major: u8, minor: u8, micro: u8) -> Self {
        Version { major, minor, micro, level: Level::Final, serial: 0 }
    }

    /// Decodes `PY_VERSION_HEX` (also the value of the symbol `Py_Version` and of `_Py_DebugOffsets.version`).
    /// `None` if it cannot be a version.
    pub fn from_hex(hex: u64) -> Option<Self> {
        let [0, 0, 0, 0, major, minor, micro, tail] = hex.to_be_bytes() else { return None };
        let level = match tail >> 4 {
            0xa => Level::Alpha,
            0xb => Level::Beta,
            0xc => Level::Candidate,
            0xf => Level::Final,
            _ => return None,
        };
        Some(Version { major, minor, micro, level, serial: tail & 15 })
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.micro)?;
        match self.level {
            Level::Alpha => write!(f, "a{}", self.serial),
            Level::Beta => write!(f, "b{}", self.serial),
            Level::Candidate => write!(f, "rc{}", self.serial),
            Level::Final => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_reads_as_python_writes_it() {
        let written =
            [(0x030d_00f0, "3.13.0"), (0x030e_0af0, "3.14.10"), (0x030f_00a3, "3.15.0a3"), (0x030d_00c2, "3.13.0rc2")];
        for (hex, text) in written {
            assert_eq!(Version::from_hex(hex).unwrap().to_string(), text);
        }
        assert_eq!(Version::from_hex(0x030d_0000), None);
        assert_eq!(Version::from_hex(u64::MAX), None);
    }
}
