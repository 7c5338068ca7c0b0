//! The key `read`: how a request ends.

use std::fmt;

use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserializer, Error, MapAccess, Visitor};
use serde::{Deserialize, Serialize};

use crate::config::value::Whole;

/// The most bytes of one request that a service may ask to hold, 16 MiB: enough for every protocol
/// of one exchange, and a typing error can't take the machine's memory.
pub const REQUEST_BYTES_MAX: u64 = 16 << 20;

/// The most bytes of a delimiter: it is looked for in every read.
pub(super) const DELIMITER_BYTES_MAX: usize = 64;

/// How a request ends.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Read {
    /// There is none: the reply goes out at once.
    Nothing,
    /// With LF or CR LF.
    Line,
    /// With the peer's end of its side.
    Eof,
    /// As HTTP/1.x says.
    Http,
    /// With these 1 to 64 bytes.
    Delimiter(String),
    /// After so many, 1 to `max_request_bytes`.
    Bytes(usize),
}

impl<'de> Deserialize<'de> for Read {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(WordOrTable)
    }
}

/// What `read` can be, for the help of an error.
const HELP: &str = "write \"nothing\", \"line\", \"eof\", \"http\", \
                    { delimiter = \"\\r\\n\\r\\n\" } or { bytes = 4 }";

struct WordOrTable;

impl<'de> Visitor<'de> for WordOrTable {
    type Value = Read;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "how a request ends\n{HELP}")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Read, E> {
        match text {
            "nothing" => Ok(Read::Nothing),
            "line" => Ok(Read::Line),
            "eof" => Ok(Read::Eof),
            "http" => Ok(Read::Http),
            "delimiter" => Err(E::custom(
                "this one needs a value\nwrite { delimiter = \"\\r\\n\\r\\n\" }",
            )),
            "bytes" => Err(E::custom("this one needs a value\nwrite { bytes = 4 }")),
            _ => Err(E::custom(format!(
                "no such way for a request to end\n{HELP}"
            ))),
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Read, A::Error> {
        match Table::deserialize(MapAccessDeserializer::new(map))? {
            Table {
                delimiter: Some(delimiter),
                bytes: None,
            } => Ok(Read::Delimiter(delimiter)),
            Table {
                delimiter: None,
                bytes: Some(bytes),
            } => Ok(Read::Bytes(bytes)),
            _ => Err(A::Error::custom(
                "expected exactly one of `delimiter` and `bytes`",
            )),
        }
    }
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Table {
    #[serde(deserialize_with = "delimiter")]
    delimiter: Option<String>,
    #[serde(deserialize_with = "bytes")]
    bytes: Option<usize>,
}

fn delimiter<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    let delimiter = String::deserialize(deserializer)?;
    match delimiter.len() {
        1..=DELIMITER_BYTES_MAX => Ok(Some(delimiter)),
        0 => Err(D::Error::custom(
            "an empty delimiter ends every request before it starts\n\
             for a service that reads nothing write read = \"nothing\"",
        )),
        length => Err(D::Error::custom(format!(
            "a delimiter has at most {DELIMITER_BYTES_MAX} bytes, this one has {length}"
        ))),
    }
}

fn bytes<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<usize>, D::Error> {
    Whole::<1, REQUEST_BYTES_MAX>::deserialize(deserializer).map(Some)
}
