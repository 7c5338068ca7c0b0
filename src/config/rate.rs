//! A number a second: its range, and how it is written.

use std::fmt;

use serde::Serializer;
use serde::de::{Deserializer, Error, Unexpected, Visitor};

/// The lowest rate: one in a thousand seconds.
pub(super) const RATE_MIN: f64 = 0.001;

/// The highest rate: more than any machine accepts.
pub(super) const RATE_MAX: f64 = 1e6;

/// A number a second, whole or not; 0: no limit. The `with` of a field in `types.rs`.
#[derive(Debug)]
pub struct Rate;

impl Rate {
    /// Reads one.
    ///
    /// # Errors
    /// * Anything else: negative, `nan`, `inf`, text such as "5/s".
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
        deserializer.deserialize_any(RateNumber)
    }

    /// Writes one: whole where it is.
    ///
    /// # Errors
    /// * The serializer's.
    pub fn serialize<S: Serializer>(rate: &f64, serializer: S) -> Result<S::Ok, S::Error> {
        if rate.fract() == 0.0 {
            #[allow(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "from 0 to a million"
            )]
            serializer.serialize_u64(*rate as u64)
        } else {
            serializer.serialize_f64(*rate)
        }
    }
}

struct RateNumber;

impl Visitor<'_> for RateNumber {
    type Value = f64;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "connections a second, such as 5 or 0.5, at least {RATE_MIN} and at most 1e6, or 0"
        )
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<f64, E> {
        #[allow(
            clippy::cast_precision_loss,
            reason = "exact up to 2^53, and anything above 1e6 is refused"
        )]
        let float = number as f64;
        is_rate(float)
            .then_some(float)
            .ok_or_else(|| E::invalid_value(Unexpected::Signed(number), &self))
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<f64, E> {
        // Only numbers that don't fit an i64 come here.
        Err(E::invalid_value(Unexpected::Unsigned(number), &self))
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<f64, E> {
        is_rate(number)
            .then_some(number)
            .ok_or_else(|| E::invalid_value(Unexpected::Float(number), &self))
    }
}

/// NaN is in no range.
fn is_rate(number: f64) -> bool {
    number == 0.0 || (RATE_MIN..=RATE_MAX).contains(&number)
}
