//! A number of seconds: its range, and how it is written.
//!
//! Each type is the `with` of a field in `types.rs`, as those of `value.rs` are.

use std::fmt;
use std::time::Duration;

use serde::Serializer;
use serde::de::{Deserializer, Error, Unexpected, Visitor};

use crate::config::value::WholeNumber;

/// The longest duration, in seconds: some thirty years, far from any overflow of an `Instant`.
pub(super) const SECONDS_MAX: f64 = 1e9;

/// The longest `TCP_USER_TIMEOUT`, in seconds: it is milliseconds in an `int`.
pub(super) const USER_TIMEOUT_SECONDS_MAX: u64 = 2_147_483;

/// A number of seconds, whole or not, from 0 to 1e9.
#[derive(Debug)]
pub struct Seconds;

impl Seconds {
    /// Reads one.
    ///
    /// # Errors
    /// * Anything else: negative, `nan`, `inf`, text such as "5s".
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        deserializer.deserialize_any(SecondsNumber { zero: true })
    }

    /// Writes one: whole where it is.
    ///
    /// # Errors
    /// * The serializer's.
    pub fn serialize<S: Serializer>(time: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
        write(*time, serializer)
    }
}

/// A number of seconds as [`Seconds`], but not 0: it would end everything at once.
#[derive(Debug)]
pub struct PositiveSeconds;

impl PositiveSeconds {
    /// Reads one.
    ///
    /// # Errors
    /// * Anything else, and what rounds to 0 nanoseconds.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        deserializer.deserialize_any(SecondsNumber { zero: false })
    }

    /// Writes one: whole where it is.
    ///
    /// # Errors
    /// * The serializer's.
    pub fn serialize<S: Serializer>(time: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
        write(*time, serializer)
    }
}

/// A whole number of seconds up to `MAX`, for socket options that count whole ones: half a second
/// would silently turn into 0, which is "off".
#[derive(Debug)]
pub struct WholeSeconds<const MAX: u64>;

impl<const MAX: u64> WholeSeconds<MAX> {
    /// Reads one.
    ///
    /// # Errors
    /// * Anything else.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        let unit = " of seconds";
        let (min, max) = (0, MAX);
        let seconds = deserializer.deserialize_any(WholeNumber { min, max, unit })?;
        Ok(Duration::from_secs(seconds))
    }

    /// Writes one: whole where it is.
    ///
    /// # Errors
    /// * The serializer's.
    pub fn serialize<S: Serializer>(time: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
        write(*time, serializer)
    }
}

/// A number of seconds that `TCP_USER_TIMEOUT` can hold.
#[derive(Debug)]
pub struct UserTimeout;

impl UserTimeout {
    /// Reads one.
    ///
    /// # Errors
    /// * Anything else.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        let timeout = Seconds::deserialize(deserializer)?;
        if timeout > Duration::from_secs(USER_TIMEOUT_SECONDS_MAX) {
            return Err(D::Error::custom(format!(
                "the kernel takes at most {USER_TIMEOUT_SECONDS_MAX} seconds"
            )));
        }
        if !timeout.is_zero() && timeout < Duration::from_millis(1) {
            return Err(D::Error::custom(
                "the kernel counts milliseconds: 0 (off), or 0.001 and more",
            ));
        }
        Ok(timeout)
    }

    /// Writes one: whole where it is.
    ///
    /// # Errors
    /// * The serializer's.
    pub fn serialize<S: Serializer>(time: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
        write(*time, serializer)
    }
}

fn write<S: Serializer>(time: Duration, serializer: S) -> Result<S::Ok, S::Error> {
    if time.subsec_nanos() == 0 {
        serializer.serialize_u64(time.as_secs())
    } else {
        serializer.serialize_f64(time.as_secs_f64())
    }
}

struct SecondsNumber {
    zero: bool,
}

impl Visitor<'_> for SecondsNumber {
    type Value = Duration;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let above = if self.zero { "" } else { " above 0" };
        write!(
            f,
            "a number of seconds{above}, such as 5 or 0.5, at most 1e9"
        )
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Duration, E> {
        #[allow(
            clippy::cast_precision_loss,
            reason = "exact up to 2^53, and anything above 1e9 is refused"
        )]
        let float = number as f64;
        let unexpected = Unexpected::Signed(number);
        self.duration(float)
            .ok_or_else(|| E::invalid_value(unexpected, &self))
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Duration, E> {
        // Only numbers that don't fit an i64 come here.
        Err(E::invalid_value(Unexpected::Unsigned(number), &self))
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<Duration, E> {
        self.duration(number)
            .ok_or_else(|| E::invalid_value(Unexpected::Float(number), &self))
    }
}

impl SecondsNumber {
    fn duration(&self, number: f64) -> Option<Duration> {
        // NaN is in no range.
        let in_range = (0.0..=SECONDS_MAX).contains(&number);
        let duration = in_range.then(|| Duration::from_secs_f64(number))?;
        (self.zero || !duration.is_zero()).then_some(duration)
    }
}
