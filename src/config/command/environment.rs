//! The key `environment`: the variables of a command.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, Visitor};
use serde::{Serialize, Serializer};

use crate::config::command::ARGUMENT_BYTES_MAX;
use crate::config::value;

/// The most variables: far more than anyone writes, and far from what the kernel takes.
pub(in crate::config) const VARIABLES_MAX: usize = 256;

/// The variables that tell a command of its peer, as tcpserver and CGI call them.
const OF_THE_PEER: [&str; 6] = [
    "PROTO",
    "REMOTE_ADDR",
    "REMOTE_HOST",
    "REMOTE_PORT",
    "TCPREMOTEIP",
    "TCPREMOTEPORT",
];

/// Variables by their names.
#[derive(Debug)]
pub struct Environment;

impl Environment {
    /// Reads them.
    ///
    /// # Errors
    /// * A name that is empty, has a `=` or a NUL, or is one of those that replyd sets.
    /// * A value with a NUL, and more than a program can be given.
    pub fn deserialize<'de, D>(deserializer: D) -> Result<BTreeMap<String, String>, D::Error>
    where
        D: Deserializer<'de>,
    {
        deserializer.deserialize_any(Variables)
    }

    /// Writes them.
    ///
    /// # Errors
    /// * The serializer's.
    pub fn serialize<S: Serializer>(
        environment: &BTreeMap<String, String>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        environment.serialize(serializer)
    }
}

struct Variables;

impl<'de> Visitor<'de> for Variables {
    type Value = BTreeMap<String, String>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a table of variables, such as { LANG = \"C.UTF-8\" }")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut variables = BTreeMap::new();
        // Ends with the table.
        while let Some(Name(name)) = map.next_key()? {
            let Text(value) = map.next_value()?;
            // With the `=` between them.
            if name.len() + value.len() >= ARGUMENT_BYTES_MAX {
                return Err(A::Error::custom(format!(
                    "the kernel takes at most {ARGUMENT_BYTES_MAX} bytes in a variable"
                )));
            }
            variables.insert(name, value);
        }
        if variables.len() > VARIABLES_MAX {
            return Err(A::Error::custom(format!(
                "at most {VARIABLES_MAX} variables"
            )));
        }
        Ok(variables)
    }
}

struct Name(String);

impl<'de> Deserialize<'de> for Name {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        value::text(deserializer, |name| {
            if name.is_empty() || name.contains(['=', '\0']) {
                return Err("a variable's name is not empty, and has no `=` and no NUL".to_owned());
            }
            if OF_THE_PEER.contains(&name) {
                let label = "replyd sets this variable itself, where it can: it tells of the peer";
                return Err(format!("{label}\nremove it"));
            }
            Ok(())
        })
        .map(Self)
    }
}

struct Text(String);

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        value::text(deserializer, |text| {
            if text.contains('\0') {
                return Err("no variable can hold a NUL: it would end there".to_owned());
            }
            Ok(())
        })
        .map(Self)
    }
}
