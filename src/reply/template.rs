//! Text with placeholders, compiled when the configuration is loaded.
//!
//! What a template can spend is bounded: steps, recursion and bytes. A template that goes over,
//! or that fails in another way, is the `failed` reply.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use minijinja::value::{Object, ObjectRepr, Value};
use minijinja::{AutoEscape, Environment, ErrorKind, UndefinedBehavior};

use crate::peer::Peer;
use crate::reply::Asked;
use crate::reply::calendar::Calendar;
use crate::request::Head;

/// What a template may name, whatever the framing.
pub const NAMES: [&str; 4] = ["request", "peer", "service", "time"];

/// What a template may name beside that, over HTTP.
pub const HTTP_NAMES: [&str; 4] = ["method", "path", "query", "headers"];

/// Instructions of the template engine: thousands of lines of text, and far below a millisecond.
const FUEL: u64 = 50_000;

/// Bytes that a template may make.
const OUTPUT_BYTES_MAX: usize = 1024 * 1024;

/// The only template of its environment has this name.
const NAME: &str = "text";

/// A compiled template.
pub struct Template {
    environment: Environment<'static>,
    uses_head: bool,
    uses_request: bool,
}

/// Why a text is no template. Displayed in one line.
#[derive(Debug, PartialEq, Eq)]
pub struct TemplateError {
    /// What is wrong.
    pub message: String,

    /// The line in the text, from 1, where that is known.
    pub line: Option<usize>,
}

impl Template {
    /// Whether `text` has placeholders at all; if not, it is constant.
    #[must_use]
    pub fn is_template(text: &str) -> bool {
        ["{{", "{%", "{#"]
            .iter()
            .any(|opening| text.contains(opening))
    }

    /// Compiles `text`. With `html`, what placeholders give is escaped for it.
    ///
    /// # Errors
    /// * the text doesn't parse
    /// * it names something that [`NAMES`] and, for `http`, [`HTTP_NAMES`] don't have
    pub fn new(text: &str, http: bool, html: bool) -> Result<Self, TemplateError> {
        let mut environment = Environment::new();
        let mut syntax = minijinja::syntax::SyntaxConfig::builder();
        // A line's end belongs to the reply: protocols depend on it.
        syntax.keep_trailing_newline(true);
        environment.set_syntax(syntax.build().map_err(|error| template_error(&error))?);
        environment.set_undefined_behavior(UndefinedBehavior::Strict);
        environment.set_fuel(Some(FUEL));
        environment.set_recursion_limit(32);
        environment.add_filter("strftime", strftime);
        let escape = move |_: &str| {
            if html {
                AutoEscape::Html
            } else {
                AutoEscape::None
            }
        };
        environment.set_auto_escape_callback(escape);
        environment
            .add_template_owned(NAME, text.to_owned())
            .map_err(|error| template_error(&error))?;

        let template = environment
            .get_template(NAME)
            .map_err(|error| template_error(&error))?;
        let named = template.undeclared_variables(false);
        let globals: Vec<&str> = environment.globals().map(|(name, _)| name).collect();
        let known = |name: &str| {
            NAMES.contains(&name) || (http && HTTP_NAMES.contains(&name)) || globals.contains(&name)
        };
        let mut unknown: Vec<&str> = named
            .iter()
            .map(String::as_str)
            .filter(|name| !known(name))
            .collect();
        unknown.sort_unstable();
        if let Some(name) = unknown.first() {
            return Err(unknown_name(name, http));
        }
        let uses_head = HTTP_NAMES.iter().any(|name| named.contains(*name));
        let uses_request = named.contains("request");
        let template = Self {
            environment,
            uses_head,
            uses_request,
        };
        template.try_out()?;
        Ok(template)
    }

    /// Unknown filters and functions show only when a template runs. What a made-up request lacks
    /// is no fault.
    fn try_out(&self) -> Result<(), TemplateError> {
        let asked = Asked {
            service: "try",
            peer: Peer::Unix,
            calendar: &Calendar::new(std::time::UNIX_EPOCH),
            head: b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
            request: b"",
            is_head: false,
        };
        let rendered = self
            .environment
            .get_template(NAME)
            .and_then(|template| template.render(self.names(&asked)));
        let is_unknown = |kind| {
            use ErrorKind::{UnknownFilter, UnknownFunction, UnknownMethod, UnknownTest};
            matches!(
                kind,
                UnknownFilter | UnknownFunction | UnknownMethod | UnknownTest
            )
        };
        match rendered {
            Err(error) if is_unknown(error.kind()) => Err(template_error(&error)),
            _ => Ok(()),
        }
    }

    pub(super) fn uses_head(&self) -> bool {
        self.uses_head
    }

    pub(super) fn uses_request(&self) -> bool {
        self.uses_request
    }

    /// Fills the placeholders in.
    ///
    /// # Errors
    /// * the template spends more than it may
    /// * it asks for something that is not there at this time, or fails in another way
    pub fn render(&self, asked: &Asked<'_>) -> Result<Vec<u8>, TemplateError> {
        let template = self
            .environment
            .get_template(NAME)
            .map_err(|error| template_error(&error))?;
        let mut output = BoundedOutput(Vec::new());
        template
            .render_captured_to(self.names(asked), &mut output)
            .map_err(|error| template_error(&error))?;
        Ok(output.0)
    }

    fn names(&self, asked: &Asked<'_>) -> Value {
        let mut names = BTreeMap::from([
            ("peer", Value::from_object(PeerObject(asked.peer))),
            ("service", Value::from(asked.service)),
            (
                "time",
                Value::from_object(TimeObject::from(asked.calendar.now())),
            ),
        ]);
        if self.uses_request {
            names.insert("request", text(asked.request));
        }
        if let Some(head) = self.uses_head.then(|| Head::parse(asked.head)).flatten() {
            let lower = |(name, value): (&str, &[u8])| (name.to_ascii_lowercase(), text(value));
            let headers: BTreeMap<String, Value> = head.headers().map(lower).collect();
            names.extend([
                ("method", Value::from(head.method)),
                ("path", Value::from(head.path)),
                ("query", Value::from(head.query)),
                ("headers", Value::from(headers)),
            ]);
        }
        Value::from(names)
    }
}

impl fmt::Debug for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Template").finish_non_exhaustive()
    }
}

impl fmt::Display for TemplateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for TemplateError {}

fn template_error(error: &minijinja::Error) -> TemplateError {
    let detail = error
        .detail()
        .map_or_else(|| error.kind().to_string(), str::to_owned);
    TemplateError {
        message: detail,
        line: error.line(),
    }
}

fn unknown_name(name: &str, http: bool) -> TemplateError {
    let allowed = NAMES.iter().chain(if http { &HTTP_NAMES[..] } else { &[] });
    let allowed: Vec<&str> = allowed.copied().collect();
    let hint = if HTTP_NAMES.contains(&name) {
        " (only with read = \"http\")"
    } else {
        ""
    };
    let message = format!(
        "unknown name `{name}`{hint}; a template may use {}",
        allowed.join(", ")
    );
    TemplateError {
        message,
        line: None,
    }
}

/// Bytes as text; what is not UTF-8 becomes U+FFFD.
fn text(bytes: &[u8]) -> Value {
    match String::from_utf8_lossy(bytes) {
        Cow::Borrowed(text) => Value::from(text),
        Cow::Owned(text) => Value::from(text),
    }
}

/// `{{ peer }}`, `{{ peer.ip }}`, `{{ peer.port }}`.
#[derive(Debug)]
struct PeerObject(Peer);

impl Object for PeerObject {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Plain
    }

    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        match key.as_str()? {
            "ip" => Some(Value::from(self.0.ip().map(|ip| ip.to_string()))),
            "port" => Some(Value::from(self.0.port())),
            _ => None,
        }
    }

    fn render(self: &Arc<Self>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// `{{ time }}` in the form of RFC 3339, `{{ time.unix }}`, `{{ time | strftime("%H:%M") }}`; UTC.
#[derive(Debug)]
struct TimeObject(Timestamp);

impl From<std::time::SystemTime> for TimeObject {
    fn from(now: std::time::SystemTime) -> Self {
        let now = Timestamp::try_from(now).unwrap_or(Timestamp::UNIX_EPOCH);
        Self(Timestamp::from_second(now.as_second()).unwrap_or(Timestamp::UNIX_EPOCH))
    }
}

impl Object for TimeObject {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Plain
    }

    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        (key.as_str()? == "unix").then(|| Value::from(self.0.as_second()))
    }

    fn render(self: &Arc<Self>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

fn strftime(time: &Value, format: &str) -> Result<String, minijinja::Error> {
    let invalid = |detail: String| minijinja::Error::new(ErrorKind::InvalidOperation, detail);
    let time = time
        .downcast_object_ref::<TimeObject>()
        .ok_or_else(|| invalid("strftime formats `time` alone".to_owned()))?;
    let zoned = time.0.to_zoned(TimeZone::UTC);
    jiff::fmt::strtime::format(format, &zoned).map_err(|error| invalid(error.to_string()))
}

/// Refuses to grow over [`OUTPUT_BYTES_MAX`].
struct BoundedOutput(Vec<u8>);

impl std::io::Write for BoundedOutput {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        if self.0.len() + bytes.len() > OUTPUT_BYTES_MAX {
            return Err(std::io::Error::other("the text is over 1 MiB"));
        }
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests;
