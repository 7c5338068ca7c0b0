//! The time of day, and HTTP's form of it, rendered once a second.

use std::io::Write as _;
use std::time::{SystemTime, UNIX_EPOCH};

use httpdate::HttpDate;

/// Bytes of an HTTP date. Source: IMF-fixdate, RFC 9110 section 5.6.7.
pub const HTTP_DATE_BYTES: usize = 29;

/// One worker's calendar: what a reply says of the time. Deadlines never use it.
#[derive(Debug)]
pub struct Calendar {
    now: SystemTime,
    second: u64,
    http_date: [u8; HTTP_DATE_BYTES],
}

impl Calendar {
    /// A calendar that shows `now`.
    #[must_use]
    pub fn new(now: SystemTime) -> Self {
        let mut calendar = Self {
            now,
            second: unix_second(now),
            http_date: [b' '; HTTP_DATE_BYTES],
        };
        calendar.render();
        calendar
    }

    /// Turns to `now`; renders only when the second is another one.
    pub fn turn(&mut self, now: SystemTime) {
        self.now = now;
        let second = unix_second(now);
        if second != self.second {
            self.second = second;
            self.render();
        }
    }

    /// The time of day.
    #[must_use]
    pub fn now(&self) -> SystemTime {
        self.now
    }

    /// The time of day as HTTP wants it.
    #[must_use]
    pub fn http_date(&self) -> &[u8; HTTP_DATE_BYTES] {
        &self.http_date
    }

    fn render(&mut self) {
        // A clock outside of 1970 to 9999 has no HTTP date.
        let shown = UNIX_EPOCH + std::time::Duration::from_secs(self.second.min(LAST_SECOND));
        write!(&mut self.http_date[..], "{}", HttpDate::from(shown))
            .expect("invariant: every date has this length");
    }
}

/// The last second of the year 9999: `httpdate` panics beyond it.
const LAST_SECOND: u64 = 253_402_300_799;

fn unix_second(now: SystemTime) -> u64 {
    now.duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[track_caller]
    fn check(unix_seconds: u64, expected: &str) {
        let mut calendar = Calendar::new(UNIX_EPOCH);
        calendar.turn(UNIX_EPOCH + Duration::from_secs(unix_seconds));
        assert_eq!(calendar.http_date(), expected.as_bytes());
    }

    #[test]
    fn a_date_is_imf_fixdate() {
        check(784_111_777, "Sun, 06 Nov 1994 08:49:37 GMT");
        check(0, "Thu, 01 Jan 1970 00:00:00 GMT");
    }

    #[test]
    fn a_clock_gone_wild_does_not_panic() {
        check(u64::from(u32::MAX) * 1000, "Fri, 31 Dec 9999 23:59:59 GMT");
        let calendar = Calendar::new(UNIX_EPOCH - Duration::from_secs(5));
        assert_eq!(calendar.http_date(), b"Thu, 01 Jan 1970 00:00:00 GMT");
    }
}
