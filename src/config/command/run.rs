//! The key `run`: a program and its arguments.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, SeqAccess, Visitor};
use serde::{Serialize, Serializer};

use crate::config::value;

/// The most arguments, the program's own path among them: far more than anyone writes, and far from
/// what the kernel takes.
pub(in crate::config) const ARGUMENTS_MAX: usize = 256;

/// The most bytes of one argument: `MAX_ARG_STRLEN` of execve(2), without the NUL at its end.
pub(in crate::config) const ARGUMENT_BYTES_MAX: usize = 131_071;

/// What is said of another placeholder, or of a part of an argument.
const PLACEHOLDER: &str = "the only placeholder here is \"{{ request }}\", as one whole argument\n\
                           end the list with \"--\", \"{{ request }}\": to `sh -c` it is \"$1\"";

/// A program and its arguments.
#[derive(Debug)]
pub struct Run;

impl Run {
    /// Reads them.
    ///
    /// # Errors
    /// * An empty list, a longer one, and an argument that no program can be given.
    /// * A placeholder that isn't one whole argument, or another one than `{{ request }}`.
    pub fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Vec<String>, D::Error> {
        deserializer.deserialize_any(Arguments)
    }

    /// Writes them.
    ///
    /// # Errors
    /// * The serializer's.
    pub fn serialize<S: Serializer>(run: &[String], serializer: S) -> Result<S::Ok, S::Error> {
        run.serialize(serializer)
    }
}

/// Whether the request takes the place of this argument.
pub(in crate::config) fn is_request(argument: &str) -> bool {
    let inner = argument.strip_prefix("{{");
    let inner = inner.and_then(|rest| rest.strip_suffix("}}"));
    inner.is_some_and(|inner| inner.trim() == "request")
}

struct Arguments;

impl<'de> Visitor<'de> for Arguments {
    type Value = Vec<String>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list, of a program and its arguments, such as [\"/usr/bin/date\", \"-u\"]")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
        let mut run = Vec::new();
        // Ends with the list.
        while let Some(Argument(argument)) = list.next_element()? {
            run.push(argument);
        }
        match run.len() {
            0 => Err(A::Error::custom(
                "the list is empty: name a program\nwrite run = [\"/usr/bin/date\", \"-u\"]",
            )),
            1..=ARGUMENTS_MAX => Ok(run),
            _ => Err(A::Error::custom(format!(
                "the list is too long: at most {ARGUMENTS_MAX}"
            ))),
        }
    }
}

struct Argument(String);

impl<'de> Deserialize<'de> for Argument {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        value::text(deserializer, |argument| {
            if argument.contains('\0') {
                return Err("no argument can hold a NUL: it would end there".to_owned());
            }
            if argument.len() > ARGUMENT_BYTES_MAX {
                let most = format!("at most {ARGUMENT_BYTES_MAX} bytes in an argument");
                return Err(format!("the kernel takes {most}"));
            }
            if argument.contains("{{") && !is_request(argument) {
                return Err(PLACEHOLDER.to_owned());
            }
            Ok(())
        })
        .map(Self)
    }
}
