//! What only an HTTP reply has: `status`, `headers`, `content_type`.
//!
//! A header is refused here if it could end the head and start another, or contradict what replyd
//! computes: a wrong `Content-Length` is how one reply becomes two.

use std::fmt;

use serde::Serializer;
use serde::de::{Deserialize, Deserializer, Error, MapAccess, Visitor};
use toml::Spanned;

use crate::config::value::Whole;

/// The most headers one reply may set: well under the 100 that common clients take.
pub(super) const HEADERS_MAX: usize = 64;

/// Headers, in the order they are written in the file.
#[derive(Debug)]
pub struct Headers;

impl Headers {
    /// Reads them.
    ///
    /// # Errors
    /// * A name that is not a token (RFC 9110, 5.6.2), or one that replyd sets itself.
    /// * A value with CR, LF or NUL: it would end the header and start another (RFC 9110, 5.5).
    pub fn deserialize<'de, D>(deserializer: D) -> Result<Vec<(String, String)>, D::Error>
    where
        D: Deserializer<'de>,
    {
        deserializer.deserialize_map(Entries)
    }

    /// Writes them.
    ///
    /// # Errors
    /// * The serializer's.
    pub fn serialize<S: Serializer>(
        headers: &[(String, String)],
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_map(headers.iter().map(|(name, value)| (name, value)))
    }
}

struct Entries;

impl<'de> Visitor<'de> for Entries {
    type Value = Vec<(String, String)>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a table of headers, such as { Location = \"/new\" }")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut headers: Vec<(usize, String, String)> = Vec::new();
        // Ends with the table.
        while let Some(name) = map.next_key::<Spanned<HeaderName>>()? {
            let place = name.span().start;
            let HeaderName(name) = name.into_inner();
            let HeaderValue(value) = map.next_value()?;
            headers.push((place, name, value));
        }
        if headers.len() > HEADERS_MAX {
            return Err(A::Error::custom(format!("at most {HEADERS_MAX} headers")));
        }
        // A dotted key may have brought them out of order.
        headers.sort_by_key(|(place, ..)| *place);
        Ok(headers.into_iter().map(|(_, n, v)| (n, v)).collect())
    }
}

struct HeaderName(String);

impl<'de> Deserialize<'de> for HeaderName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = String::deserialize(deserializer)?;
        let token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
        if name.is_empty() || !name.bytes().all(token) {
            return Err(D::Error::custom(
                "a header's name is made of letters, digits and !#$%&'*+-.^_`|~",
            ));
        }
        match name.to_ascii_lowercase().as_str() {
            "content-length" | "transfer-encoding" | "date" | "connection" => Err(
                D::Error::custom("replyd computes this header itself\nremove it"),
            ),
            "content-type" => Err(D::Error::custom(
                "this header has a key of its own\nwrite content_type = \"…\" beside `headers`",
            )),
            _ => Ok(Self(name)),
        }
    }
}

struct HeaderValue(String);

impl<'de> Deserialize<'de> for HeaderValue {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = String::deserialize(deserializer)?;
        if value.contains(['\r', '\n', '\0']) {
            return Err(D::Error::custom(
                "a header's value can't hold CR, LF or NUL: they would end the header",
            ));
        }
        Ok(Self(value))
    }
}

/// Reads the value of the `Content-Type` header.
///
/// # Errors
/// * CR, LF or NUL in it, and nothing at all.
pub fn content_type<'de, D>(deserializer: D) -> Result<Option<String>, D::Error>
where
    D: Deserializer<'de>,
{
    let HeaderValue(value) = HeaderValue::deserialize(deserializer)?;
    if value.is_empty() {
        return Err(D::Error::custom("expected a type such as \"text/html\""));
    }
    Ok(Some(value))
}

/// An HTTP status that can end an exchange: 1xx are interim and followed by another.
pub(super) type Status = Whole<200, 599>;

/// Reads a `Status`.
///
/// # Errors
/// * Anything but a whole number from 200 to 599.
pub fn status<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u16>, D::Error> {
    Status::deserialize(deserializer).map(Some)
}
