//! The key `exit_status`: which exit codes are answers, and with what status.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::RangeInclusive;

use serde::Serializer;
use serde::de::{Deserialize, Deserializer, Error, MapAccess, Visitor};

use crate::config::header::Status;

/// Statuses by exit codes. A key is a code, or a range of them.
#[derive(Debug)]
pub struct ExitStatus;

impl ExitStatus {
    /// Reads them.
    ///
    /// # Errors
    /// * A key that is no exit code, a code that is there twice, and a status that ends no exchange.
    /// * No code at all: no run could ever be an answer.
    pub fn deserialize<'de, D>(deserializer: D) -> Result<BTreeMap<u8, u16>, D::Error>
    where
        D: Deserializer<'de>,
    {
        deserializer.deserialize_any(Entries)
    }

    /// Writes them.
    ///
    /// # Errors
    /// * The serializer's.
    pub fn serialize<S: Serializer>(
        statuses: &BTreeMap<u8, u16>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_map(Self::written(statuses))
    }

    /// As a file says them: codes in a row that have the same status as a range.
    pub fn written(statuses: &BTreeMap<u8, u16>) -> impl Iterator<Item = (String, u16)> {
        let mut ranges: Vec<(RangeInclusive<u8>, u16)> = Vec::new();
        for (code, status) in statuses {
            match ranges.last_mut() {
                Some((range, same)) if same == status && range.end() + 1 == *code => {
                    *range = *range.start()..=*code;
                }
                _ => ranges.push((*code..=*code, *status)),
            }
        }
        ranges.into_iter().map(|(range, status)| {
            let (first, last) = range.into_inner();
            let one = first == last;
            let key = if one {
                first.to_string()
            } else {
                format!("{first}-{last}")
            };
            (key, status)
        })
    }
}

struct Entries;

impl<'de> Visitor<'de> for Entries {
    type Value = BTreeMap<u8, u16>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a table of exit codes and their statuses, such as { 0 = 200, 1 = 503 }")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut statuses = BTreeMap::new();
        // Ends with the table.
        while let Some(Codes(codes)) = map.next_key()? {
            let OfCodes(status) = map.next_value()?;
            for code in codes {
                if statuses.insert(code, status).is_some() {
                    let twice = format!("exit code {code} is there twice");
                    return Err(A::Error::custom(twice));
                }
            }
        }
        if statuses.is_empty() {
            return Err(A::Error::custom(
                "no exit code would be an answer\nwrite { 0 = 200 }, or { 0-255 = 200 } for every one",
            ));
        }
        Ok(statuses)
    }
}

/// `1`, or `2-255`.
struct Codes(RangeInclusive<u8>);

impl<'de> Deserialize<'de> for Codes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let key = String::deserialize(deserializer)?;
        let (first, last) = key.split_once('-').unwrap_or((&key, &key));
        match (first.parse(), last.parse()) {
            (Ok(first), Ok(last)) if first <= last => Ok(Self(first..=last)),
            _ => Err(D::Error::custom(
                "an exit code is 0 to 255, and several of them are a range: 2-255",
            )),
        }
    }
}

struct OfCodes(u16);

impl<'de> Deserialize<'de> for OfCodes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Status::deserialize(deserializer).map(Self)
    }
}
