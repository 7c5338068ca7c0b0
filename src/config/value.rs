//! One word or number of a table: its type, its range, how a wrong one is explained, and how it is
//! written.
//!
//! Each type is the `with` of a field in `types.rs`. A visitor's `expecting` ends up after
//! "expected" under the caret, so it is written for who operates the server, not for who wrote it.
//! An error made with `custom` may have two lines: the label, then the help.

use std::fmt;
use std::marker::PhantomData;
use std::path::PathBuf;

use serde::de::value::{MapAccessDeserializer, StrDeserializer};
use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Unexpected, Visitor};
use serde::{Serialize, Serializer};

/// A whole number from `MIN` to `MAX`, both allowed.
#[derive(Debug)]
pub struct Whole<const MIN: u64, const MAX: u64>;

impl<const MIN: u64, const MAX: u64> Whole<MIN, MAX> {
    /// Reads one.
    ///
    /// # Errors
    /// * Anything else, and what the target type can't hold.
    pub fn deserialize<'de, T, D>(deserializer: D) -> Result<T, D::Error>
    where
        T: TryFrom<u64>,
        D: Deserializer<'de>,
    {
        let unit = "";
        let (min, max) = (MIN, MAX);
        let number = deserializer.deserialize_any(WholeNumber { min, max, unit })?;
        T::try_from(number)
            .map_err(|_| D::Error::invalid_value(Unexpected::Unsigned(number), &"a smaller number"))
    }

    /// Writes one.
    ///
    /// # Errors
    /// * The serializer's.
    pub fn serialize<T: Serialize, S: Serializer>(
        number: &T,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        number.serialize(serializer)
    }
}

/// Takes a whole number, and says which ones there may be.
pub(super) struct WholeNumber {
    pub(super) min: u64,
    pub(super) max: u64,

    /// " of seconds", or nothing.
    pub(super) unit: &'static str,
}

impl Visitor<'_> for WholeNumber {
    type Value = u64;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { min, max, unit } = self;
        write!(f, "a whole number{unit} from {min} to {max}")
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<u64, E> {
        match u64::try_from(number) {
            Ok(number) => self.visit_u64(number),
            Err(_) => Err(E::invalid_value(Unexpected::Signed(number), &self)),
        }
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<u64, E> {
        if self.min <= number && number <= self.max {
            Ok(number)
        } else {
            Err(E::invalid_value(Unexpected::Unsigned(number), &self))
        }
    }
}

/// Reads one of `words`.
///
/// # Errors
/// * Anything else; the error lists the words.
pub fn word<'de, T, D>(deserializer: D, words: &'static [(&'static str, T)]) -> Result<T, D::Error>
where
    T: Copy,
    D: Deserializer<'de>,
{
    deserializer.deserialize_any(Word(words))
}

struct Word<T: 'static>(&'static [(&'static str, T)]);

impl<T: Copy> Visitor<'_> for Word<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, (word, _)) in self.0.iter().enumerate() {
            let comma = match i {
                0 => "",
                _ if i + 1 == self.0.len() => " or ",
                _ => ", ",
            };
            write!(f, "{comma}\"{word}\"")?;
        }
        Ok(())
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<T, E> {
        match self.0.iter().find(|(word, _)| *word == text) {
            Some((_, value)) => Ok(*value),
            None => Err(E::invalid_value(Unexpected::Str(text), &self)),
        }
    }
}

/// The most elements of a list: addresses of one service.
pub(super) const LIST_MAX: usize = 64;

/// One address, or a list of at least one and at most 64.
#[derive(Debug)]
pub struct OneOrMore;

impl OneOrMore {
    /// Reads it.
    ///
    /// # Errors
    /// * An empty list, a longer one, and what the element's type refuses.
    pub fn deserialize<'de, T, D>(deserializer: D) -> Result<Vec<T>, D::Error>
    where
        T: Deserialize<'de>,
        D: Deserializer<'de>,
    {
        deserializer.deserialize_any(Elements(PhantomData))
    }

    /// Writes it: one as itself, more as a list.
    ///
    /// # Errors
    /// * The serializer's.
    pub fn serialize<T: Serialize, S: Serializer>(
        all: &[T],
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        match all {
            [one] => one.serialize(serializer),
            all => all.serialize(serializer),
        }
    }
}

struct Elements<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for Elements<T> {
    type Value = Vec<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an address such as \"127.0.0.1:7000\", or a list of them")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Vec<T>, E> {
        T::deserialize(StrDeserializer::new(text)).map(|one| vec![one])
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Vec<T>, A::Error> {
        let mut all = Vec::new();
        // Ends with the list.
        while let Some(one) = list.next_element()? {
            all.push(one);
        }
        match all.len() {
            0 => Err(A::Error::custom("the list is empty: name one address")),
            1..=LIST_MAX => Ok(all),
            _ => Err(A::Error::custom(format!(
                "the list is too long: at most {LIST_MAX}"
            ))),
        }
    }
}

/// Reads a table. Serde's derived structs would take a list too, and call its elements by position.
///
/// # Errors
/// * Anything else, and what `T` refuses.
pub fn table<'de, T, D>(deserializer: D, example: &'static str) -> Result<T, D::Error>
where
    T: Deserialize<'de>,
    D: Deserializer<'de>,
{
    deserializer.deserialize_any(Table(example, PhantomData))
}

struct Table<T>(&'static str, PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for Table<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a table, such as {}", self.0)
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<T, A::Error> {
        T::deserialize(MapAccessDeserializer::new(map))
    }
}

/// A service's name: 1 to 63 of `a-z`, `0-9`, `_` and `-`, as in a DNS label, so that it can go
/// unquoted into labels, file names and log lines.
#[derive(Debug)]
pub struct Name;

impl Name {
    /// Reads one.
    ///
    /// # Errors
    /// * Anything else, and `admin`: the admin listener counts its connections under that name.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
        let name = String::deserialize(deserializer)?;
        let allowed = |b: u8| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-');
        let taken_by = match name.as_str() {
            "admin" => Some("the admin listener"),
            "main" => Some("the common pool of workers"),
            _ => None,
        };
        if let Some(taken_by) = taken_by {
            let label = format!("`{name}` is what metrics call {taken_by}");
            return Err(D::Error::custom(format!("{label}\nchoose another one")));
        }
        if name.is_empty() || name.len() > 63 || !name.bytes().all(allowed) {
            return Err(D::Error::custom(
                "a name is 1 to 63 of a-z, 0-9, `_` and `-`: it becomes a metric's label",
            ));
        }
        Ok(name)
    }

    /// Writes one.
    ///
    /// # Errors
    /// * The serializer's.
    pub fn serialize<S: Serializer>(name: &str, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(name)
    }
}

/// The name of a user or group; empty is none.
#[derive(Debug)]
pub struct Account;

impl Account {
    /// Reads one.
    ///
    /// # Errors
    /// * What no system's name can hold: a control character, `:` or `/`.
    pub fn deserialize<'de, D>(deserializer: D) -> Result<Option<String>, D::Error>
    where
        D: Deserializer<'de>,
    {
        let name = String::deserialize(deserializer)?;
        if name.contains(|c: char| c.is_control() || c == ':' || c == '/') {
            return Err(D::Error::custom(
                "a user's or group's name has no `:`, `/` or control character",
            ));
        }
        Ok(Some(name).filter(|name| !name.is_empty()))
    }

    /// Writes one.
    ///
    /// # Errors
    /// * The serializer's.
    pub fn serialize<S: Serializer>(
        name: &Option<String>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(name.as_deref().unwrap_or_default())
    }
}

/// Reads `true` and nothing else: a switch that is only ever turned on.
///
/// # Errors
/// * Anything else.
pub fn yes<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    if bool::deserialize(deserializer)? {
        Ok(true)
    } else {
        Err(D::Error::custom(
            "only `true` can be said here\nleave the key out instead",
        ))
    }
}

/// Reads a text that `check` finds nothing wrong with, or says why not. In a list, the element is
/// what is wrong then, and not the list.
///
/// # Errors
/// * Anything else, and what `check` says.
pub fn text<'de, D: Deserializer<'de>>(
    deserializer: D,
    check: fn(&str) -> Result<(), String>,
) -> Result<String, D::Error> {
    deserializer.deserialize_any(Text(check))
}

struct Text(fn(&str) -> Result<(), String>);

impl Visitor<'_> for Text {
    type Value = String;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text in quotes")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<String, E> {
        self.0(text).map_err(E::custom)?;
        Ok(text.to_owned())
    }
}

/// Reads a path that names something.
///
/// # Errors
/// * An empty path, or one with a NUL, which no system call takes.
pub fn path<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<PathBuf>, D::Error> {
    let path = String::deserialize(deserializer)?;
    if path.is_empty() || path.contains('\0') {
        return Err(D::Error::custom("this is no path"));
    }
    Ok(Some(PathBuf::from(path)))
}
