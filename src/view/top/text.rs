//! Numbers in few characters.

use std::time::Duration;

/// A share, in up to five characters: `99.9`, `100`, `0.0`; nothing for nothing.
pub fn percent(share: f64) -> String {
    match share * 100.0 {
        percent if !percent.is_finite() || percent <= 0.0 => String::new(),
        percent if percent < 99.95 => format!("{percent:.1}"),
        percent => format!("{percent:.0}"),
    }
}

/// Seconds, in up to six characters; nothing for nothing.
pub fn seconds(seconds: f64) -> String {
    match seconds {
        seconds if seconds < 0.005 || !seconds.is_finite() => String::new(),
        ..100.0 => format!("{seconds:.2}"),
        ..10_000.0 => format!("{seconds:.1}"),
        ..360_000.0 => format!("{:.1}h", seconds / 3600.0),
        _ => format!("{:.0}h", seconds / 3600.0),
    }
}

/// A time as a clock would show it: `7 s`, `1:02:03`, `3 d 04:05`.
pub fn clock(time: Duration) -> String {
    let seconds = time.as_secs();
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds} s"),
        (0, 0, _) => format!("{minutes}:{:02}", seconds % 60),
        (0, ..) => format!("{hours}:{minutes:02}:{:02}", seconds % 60),
        _ => format!("{days} d {hours:02}:{minutes:02}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_short() {
        assert_eq!((percent(0.0), percent(0.0004), percent(0.1234)), (String::new(), "0.0".into(), "12.3".into()));
        assert_eq!(
            (percent(0.99949), percent(0.9996), percent(f64::NAN)),
            ("99.9".into(), "100".into(), String::new())
        );
    }

    #[test]
    fn seconds_become_hours() {
        assert_eq!((seconds(0.0), seconds(0.01), seconds(99.9)), (String::new(), "0.01".into(), "99.90".into()));
        assert_eq!((seconds(1234.56), seconds(36_000.0)), ("1234.6".into(), "10.0h".into()));
        assert_eq!(seconds(3.6e6), "1000h");
    }

    #[test]
    fn a_clock_shows_what_helps() {
        let clock = |seconds| clock(Duration::from_secs(seconds));
        assert_eq!((clock(7), clock(67), clock(3723)), ("7 s".into(), "1:07".into(), "1:02:03".into()));
        assert_eq!(clock(86_400 * 3 + 4 * 3600 + 300), "3 d 04:05");
    }
}
