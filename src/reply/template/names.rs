//! What a template may name, as the template engine sees it.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use minijinja::value::{Object, ObjectRepr, Value};
use minijinja::{Error, ErrorKind};

use crate::peer::Peer;
use crate::request::Head;

/// Bytes as text; what is not UTF-8 becomes U+FFFD.
pub(super) fn text(bytes: &[u8]) -> Value {
    match String::from_utf8_lossy(bytes) {
        Cow::Borrowed(text) => Value::from(text),
        Cow::Owned(text) => Value::from(text),
    }
}

/// An attribute that does not exist: a value that fails when it is used, and says so.
fn unknown(key: &str, of: &str, known: &str) -> Value {
    let message = format!("`{of}` has no `{key}`; it has {known}");
    Value::from(Error::new(ErrorKind::UnknownMethod, message))
}

/// `{{ peer }}`, `{{ peer.ip }}`, `{{ peer.port }}`. A unix peer has neither: empty.
#[derive(Debug)]
pub(super) struct PeerObject(pub(super) Peer);

impl Object for PeerObject {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Plain
    }

    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        let of_unix = || Value::from("");
        match key.as_str()? {
            "ip" => Some((self.0.ip()).map_or_else(of_unix, |ip| Value::from(ip.to_string()))),
            "port" => Some(self.0.port().map_or_else(of_unix, Value::from)),
            other => Some(unknown(other, "peer", "ip and port")),
        }
    }

    fn render(self: &Arc<Self>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// `{{ time }}` in the form of RFC 3339, `{{ time.unix }}`, `{{ time | strftime("%H:%M") }}`; UTC.
#[derive(Debug)]
pub(super) struct TimeObject(Timestamp);

impl From<SystemTime> for TimeObject {
    fn from(now: SystemTime) -> Self {
        let now = Timestamp::try_from(now).unwrap_or(Timestamp::UNIX_EPOCH);
        Self(Timestamp::from_second(now.as_second()).unwrap_or(Timestamp::UNIX_EPOCH))
    }
}

impl Object for TimeObject {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Plain
    }

    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        match key.as_str()? {
            "unix" => Some(Value::from(self.0.as_second())),
            other => Some(unknown(other, "time", "unix, and the filter strftime")),
        }
    }

    fn render(self: &Arc<Self>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// The filter `strftime`.
pub(super) fn strftime(time: &Value, format: &str) -> Result<String, Error> {
    let invalid = |detail: String| Error::new(ErrorKind::InvalidOperation, detail);
    let time = time
        .downcast_object_ref::<TimeObject>()
        .ok_or_else(|| invalid("strftime formats `time` alone".to_owned()))?;
    let zoned = time.0.to_zoned(TimeZone::UTC);
    jiff::fmt::strtime::format(format, &zoned).map_err(|error| invalid(error.to_string()))
}

/// `{{ headers["x-name"] }}`, whatever the case. One that is absent is empty: a client must not be
/// able to make a reply fail by leaving it out. One that is repeated is a list, RFC 9110 5.3.
#[derive(Debug)]
pub(super) struct HeadersObject(BTreeMap<String, String>);

impl From<&Head<'_>> for HeadersObject {
    fn from(head: &Head<'_>) -> Self {
        let mut headers: BTreeMap<String, String> = BTreeMap::new();
        for (name, value) in head.headers() {
            let value = String::from_utf8_lossy(value);
            headers
                .entry(name.to_ascii_lowercase())
                .and_modify(|values| {
                    values.push_str(", ");
                    values.push_str(&value);
                })
                .or_insert_with(|| value.into_owned());
        }
        Self(headers)
    }
}

impl Object for HeadersObject {
    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        let value = self.0.get(&key.as_str()?.to_ascii_lowercase());
        Some(value.map_or_else(|| Value::from(""), |value| Value::from(value.as_str())))
    }

    fn enumerate(self: &Arc<Self>) -> minijinja::value::Enumerator {
        minijinja::value::Enumerator::Values(
            self.0
                .keys()
                .map(|name| Value::from(name.as_str()))
                .collect(),
        )
    }
}
