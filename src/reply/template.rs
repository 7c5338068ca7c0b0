//! Text with placeholders, compiled when the configuration is loaded.
//!
//! What a template can spend is bounded: steps, recursion and bytes. A template that goes over,
//! or that fails in another way, is the `failed` reply.

mod names;

use std::collections::BTreeMap;
use std::fmt;
use std::time::Instant;

use minijinja::value::Value;
use minijinja::{AutoEscape, Environment, ErrorKind, UndefinedBehavior};

use crate::complaint::Complaint;
use crate::peer::Peer;
use crate::reply::Asked;
use crate::reply::calendar::Calendar;
use crate::reply::template::names::{HeadersObject, PeerObject, TimeObject, strftime, text};
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
    complaint: Complaint,
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
        if !unknown.is_empty() {
            return Err(unknown_names(&unknown, http));
        }
        let uses_head = HTTP_NAMES.iter().any(|name| named.contains(*name));
        let uses_request = named.contains("request");
        let template = Self {
            environment,
            uses_head,
            uses_request,
            complaint: Complaint::new(Instant::now()),
        };
        template.try_out()?;
        Ok(template)
    }

    /// Unknown filters, functions and attributes show only when a template runs, as does a loop
    /// without end. What depends on the request is no fault: this one is made up.
    fn try_out(&self) -> Result<(), TemplateError> {
        let asked = Asked {
            service: "try",
            peer: Peer::Unix,
            calendar: &Calendar::new(std::time::UNIX_EPOCH),
            now: Instant::now(),
            head: b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
            request: b"try",
            received: b"",
            is_head: false,
        };
        let rendered = (self.environment.get_template(NAME))
            .and_then(|template| template.render(self.names(&asked)));
        match rendered {
            Err(error) if is_fault(&error) => Err(template_error(&error)),
            _ => Ok(()),
        }
    }

    /// Fills the placeholders in; says why if that fails, now and then.
    pub(super) fn fill(&self, asked: &Asked<'_>) -> Option<Vec<u8>> {
        self.render(asked)
            .inspect_err(|error| {
                self.complaint.raise(Instant::now(), |unsaid| {
                    let service = asked.service;
                    tracing::warn!(service, %error, unsaid, "the text of a reply has failed");
                });
            })
            .ok()
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
            let headers = HeadersObject::from(&head);
            names.extend([
                ("method", Value::from(head.method)),
                ("path", Value::from(head.path)),
                ("query", Value::from(head.query)),
                ("headers", Value::from_object(headers)),
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
    let detail = match error.kind() {
        ErrorKind::OutOfFuel => format!("this text takes more than {FUEL} steps to fill in"),
        kind => (error.detail()).map_or_else(|| kind.to_string(), str::to_owned),
    };
    TemplateError {
        message: detail,
        line: error.line(),
    }
}

/// Whether an error is the template's own, whoever asks. One in an expression is the cause of the
/// one that is told.
fn is_fault(error: &minijinja::Error) -> bool {
    use ErrorKind::{OutOfFuel, UnknownFilter, UnknownFunction, UnknownMethod, UnknownTest};
    matches!(
        error.kind(),
        OutOfFuel | UnknownFilter | UnknownFunction | UnknownMethod | UnknownTest
    )
}

fn unknown_names(unknown: &[&str], http: bool) -> TemplateError {
    let allowed = NAMES.iter().chain(if http { &HTTP_NAMES[..] } else { &[] });
    let allowed: Vec<&str> = allowed.copied().collect();
    let explain = |name: &&str| {
        let near = |other: &&&str| strsim::damerau_levenshtein(name, other) <= 2;
        match allowed.iter().find(near) {
            _ if HTTP_NAMES.contains(name) => format!("`{name}` (only with read = \"http\")"),
            Some(near) => format!("`{name}` (did you mean `{near}`?)"),
            None => format!("`{name}`"),
        }
    };
    let explained: Vec<String> = unknown.iter().map(explain).collect();
    let message = format!(
        "unknown name {}; a template may use {}",
        explained.join(", "),
        allowed.join(", ")
    );
    TemplateError {
        message,
        line: None,
    }
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
