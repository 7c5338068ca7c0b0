//! One word or number of a table: its type, its range, and how a wrong one is explained.
//!
//! Each function is a `deserialize_with` of `types.rs`. A visitor's `expecting` ends up after
//! "expected" under the caret, so it is written for who operates the server, not for who wrote it.
//! An error made with `custom` may have two lines: the label, then the help.

use std::fmt;
use std::marker::PhantomData;
use std::path::PathBuf;
use std::time::Duration;

use serde::de::value::{MapAccessDeserializer, StrDeserializer};
use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Unexpected, Visitor};

/// Reads a whole number from `MIN` to `MAX`, both allowed.
///
/// # Errors
/// * Anything else, and what the target type can't hold.
pub fn whole<'de, const MIN: u64, const MAX: u64, T, D>(deserializer: D) -> Result<T, D::Error>
where
    T: TryFrom<u64>,
    D: Deserializer<'de>,
{
    let unit = "";
    let (min, max) = (MIN, MAX);
    let number = deserializer.deserialize_any(Whole { min, max, unit })?;
    T::try_from(number)
        .map_err(|_| D::Error::invalid_value(Unexpected::Unsigned(number), &"a smaller number"))
}

struct Whole {
    min: u64,
    max: u64,
    unit: &'static str,
}

impl Visitor<'_> for Whole {
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

/// The longest duration, in seconds: some thirty years, far from any overflow of an `Instant`.
const SECONDS_MAX: f64 = 1e9;

/// Reads a number of seconds, whole or not, from 0 to 1e9.
///
/// # Errors
/// * Anything else: negative, `nan`, `inf`, text such as "5s".
pub fn seconds<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    deserializer.deserialize_any(Seconds { zero: true })
}

/// Reads a number of seconds as [`seconds`] does, but not 0: it would end everything at once.
///
/// # Errors
/// * Anything else, and what rounds to 0 nanoseconds.
pub fn positive_seconds<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    deserializer.deserialize_any(Seconds { zero: false })
}

/// Reads a whole number of seconds up to `MAX`, for socket options that count whole ones:
/// half a second would silently turn into 0, which is "off".
///
/// # Errors
/// * Anything else.
pub fn whole_seconds<'de, const MAX: u64, D>(deserializer: D) -> Result<Duration, D::Error>
where
    D: Deserializer<'de>,
{
    let unit = " of seconds";
    let (min, max) = (0, MAX);
    let seconds = deserializer.deserialize_any(Whole { min, max, unit })?;
    Ok(Duration::from_secs(seconds))
}

/// Reads a number of seconds up to 2147483: `TCP_USER_TIMEOUT` holds milliseconds in an `int`.
///
/// # Errors
/// * Anything else.
pub fn user_timeout<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    let timeout = seconds(deserializer)?;
    if timeout > Duration::from_secs(2_147_483) {
        return Err(D::Error::custom("the kernel takes at most 2147483 seconds"));
    }
    if !timeout.is_zero() && timeout < Duration::from_millis(1) {
        return Err(D::Error::custom(
            "the kernel counts milliseconds: 0 (off), or 0.001 and more",
        ));
    }
    Ok(timeout)
}

struct Seconds {
    zero: bool,
}

impl Visitor<'_> for Seconds {
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

impl Seconds {
    fn duration(&self, number: f64) -> Option<Duration> {
        // NaN is in no range.
        let in_range = (0.0..=SECONDS_MAX).contains(&number);
        let duration = in_range.then(|| Duration::from_secs_f64(number))?;
        (self.zero || !duration.is_zero()).then_some(duration)
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

/// Reads one element, or a list of at least one and at most 64.
///
/// # Errors
/// * An empty list, a longer one, and what the element's type refuses.
pub fn one_or_more<'de, T, D>(deserializer: D) -> Result<Vec<T>, D::Error>
where
    T: Deserialize<'de>,
    D: Deserializer<'de>,
{
    deserializer.deserialize_any(OneOrMore(PhantomData))
}

struct OneOrMore<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for OneOrMore<T> {
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
            1..=64 => Ok(all),
            _ => Err(A::Error::custom("the list is too long: at most 64")),
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

/// Reads a service's name: 1 to 63 of `a-z`, `0-9`, `_` and `-`, as in a DNS label, so that it can
/// go unquoted into labels, file names and log lines.
///
/// # Errors
/// * Anything else, and `admin`: the admin listener counts its connections under that name.
pub fn name<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let name = String::deserialize(deserializer)?;
    let allowed = |b: u8| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-');
    if name == "admin" {
        return Err(D::Error::custom(
            "`admin` is the admin listener's own name\nchoose another one",
        ));
    }
    if name.is_empty() || name.len() > 63 || !name.bytes().all(allowed) {
        return Err(D::Error::custom(
            "a name is 1 to 63 of a-z, 0-9, `_` and `-`: it becomes a metric's label",
        ));
    }
    Ok(name)
}

/// Reads the name of a user or group; empty is none.
///
/// # Errors
/// * What no system's name can hold: a control character, `:` or `/`.
pub fn account<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    let name = String::deserialize(deserializer)?;
    if name.contains(|c: char| c.is_control() || c == ':' || c == '/') {
        return Err(D::Error::custom(
            "a user's or group's name has no `:`, `/` or control character",
        ));
    }
    Ok(Some(name).filter(|name| !name.is_empty()))
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
