//! A fault, and all of them the way rustc shows its own.

use std::error::Error;
use std::fmt;
use std::ops::Range;

use annotate_snippets::{Annotation, AnnotationKind, Group, Level, Origin, Renderer, Snippet};

use serde::Serialize;

use crate::config::document::Spot;
use crate::config::written::is_hidden;

/// How bad it is.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// It can never work.
    Error,
    /// It may not work on this machine or for this user, or is surely not what was meant.
    Warning,
}

/// One thing wrong, where, and what to write instead.
#[derive(Clone, Debug)]
pub struct Fault {
    /// How bad it is.
    pub severity: Severity,

    /// What is wrong, in one line.
    pub message: String,

    /// The file, for a fault without a spot.
    pub name: String,

    /// Where.
    pub spot: Option<Spot>,

    /// Why, under the caret; empty: none.
    pub label: String,

    /// What it collides with, and a label there.
    pub other: Option<(Spot, String)>,

    /// What to write instead.
    pub help: Option<String>,
}

impl Fault {
    /// A fault at a spot.
    #[must_use]
    pub fn at(spot: Spot, message: impl Into<String>, label: impl Into<String>) -> Self {
        Self {
            severity: Severity::Error,
            message: message.into(),
            name: spot.document.name.clone(),
            spot: Some(spot),
            label: label.into(),
            other: None,
            help: None,
        }
    }

    /// A fault of a file as a whole.
    #[must_use]
    pub fn of(name: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            severity: Severity::Error,
            message: message.into(),
            name: name.into(),
            spot: None,
            label: String::new(),
            other: None,
            help: None,
        }
    }

    /// Makes a warning of it.
    #[must_use]
    pub fn warning(mut self) -> Self {
        self.severity = Severity::Warning;
        self
    }

    /// Adds what to write instead.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// Adds what it collides with, where that is known.
    #[must_use]
    pub fn against(mut self, other: Option<Spot>, label: impl Into<String>) -> Self {
        self.other = other.map(|spot| (spot, label.into()));
        self
    }

    /// The order of reading: by file, then by position; faults of a whole file last.
    fn rank(&self) -> (usize, usize) {
        self.spot
            .as_ref()
            .map_or((usize::MAX, 0), |at| (at.document.rank, at.span.start))
    }

    fn render(&self, renderer: &Renderer) -> String {
        let message = clean(&self.message);
        let mut group = Group::with_title(level(self.severity).primary_title(message));
        match (&self.spot, &self.other) {
            (None, _) => group = group.element(Origin::path(clean(&self.name))),
            (Some(spot), Some((other, why))) if same_file(spot, other) => {
                group = group.element(snippet(PRIMARY, spot, &self.label, Some((other, why))));
            }
            (Some(spot), other) => {
                group = group.element(snippet(PRIMARY, spot, &self.label, None));
                if let Some((other, why)) = other {
                    group = group.element(snippet(ASIDE, other, why, None));
                }
            }
        }
        if let Some(help) = &self.help {
            group = group.element(Level::HELP.message(wrap(&clean(help))));
        }
        renderer.render(&[group])
    }
}

/// One line, for a log: where, what and why.
impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&clean(&self.name))?;
        if let Some(spot) = &self.spot {
            let (line, _) = spot.document.line(spot.span.start);
            write!(f, ":{line}")?;
        }
        write!(f, ": {}", clean(&self.message))?;
        let label = Some(&self.label).filter(|label| !label.is_empty());
        for more in label.into_iter().chain(&self.help) {
            write!(f, "; {}", clean(more))?;
        }
        Ok(())
    }
}

fn level(severity: Severity) -> Level<'static> {
    match severity {
        Severity::Error => Level::ERROR,
        Severity::Warning => Level::WARNING,
    }
}

/// What is wrong, `^^^`.
const PRIMARY: AnnotationKind = AnnotationKind::Primary;

/// What it collides with, `---`.
const ASIDE: AnnotationKind = AnnotationKind::Context;

fn same_file(one: &Spot, other: &Spot) -> bool {
    one.document.rank == other.document.rank
}

/// Cuts out the lines that are pointed at: the renderer's work grows with what it is given.
fn snippet<'a>(
    kind: AnnotationKind,
    spot: &'a Spot,
    label: &str,
    other: Option<(&Spot, &str)>,
) -> Snippet<'a, Annotation<'a>> {
    let text = &*spot.document.text;
    let main = spot.first_line();
    let aside = other.map(|(other, label)| (other.first_line(), label));
    let (mut start, mut end) = (main.start, main.end);
    if let Some((span, _)) = &aside {
        start = start.min(span.start);
        end = end.max(span.end);
    }
    let (line, start) = spot.document.line(start);
    let end = text[end..].find('\n').map_or(text.len(), |line| end + line);
    // What is hidden is replaced before the renderer sees it, which may make the text longer.
    let moved = |at: usize| quoted(&text[start..at]).len();
    let within = |span: Range<usize>| moved(span.start)..moved(span.end);
    let optional = |label: &str| Some(clean(label)).filter(|label| !label.is_empty());
    let context = aside.map(|(span, label)| {
        let annotation = ASIDE.span(within(span));
        annotation.label(optional(label))
    });
    let annotation = kind.span(within(main));
    Snippet::source(quoted(&text[start..end]))
        .line_start(line)
        .path(clean(&spot.document.name))
        .annotation(annotation.label(optional(label)))
        .annotations(context)
}

/// Takes out what is hidden in a text that quotes the file: it goes to a terminal.
fn clean(text: &str) -> String {
    let visible = |c: char| if is_hidden(c) { '\u{fffd}' } else { c };
    text.chars().map(visible).collect()
}

/// Takes out of the file's own text what is hidden and not ASCII; the renderer shows what is.
fn quoted(text: &str) -> String {
    let is_hidden = |c: char| !c.is_ascii() && is_hidden(c);
    let visible = |c: char| if is_hidden(c) { '\u{fffd}' } else { c };
    text.chars().map(visible).collect()
}

/// Breaks a help at spaces, at 90 columns: a list of every key is longer than a screen is wide.
fn wrap(text: &str) -> String {
    let mut wrapped = String::new();
    let mut column = 0;
    for word in text.split(' ') {
        let width = word.chars().count();
        if column > 0 && column + 1 + width > 90 {
            wrapped.push('\n');
            column = 0;
        } else if column > 0 {
            wrapped.push(' ');
            column += 1;
        }
        wrapped.push_str(word);
        column += width;
    }
    wrapped
}

/// Everything wrong with a config, warnings included: at least one fault, in the order of reading.
#[derive(Clone, Debug)]
pub struct Faults(Vec<Fault>);

impl Faults {
    /// Makes the result of a check that gathers its faults.
    ///
    /// # Errors
    /// * There is at least one.
    pub fn none(faults: Vec<Fault>) -> Result<(), Self> {
        if faults.is_empty() {
            return Ok(());
        }
        Err(Self::some(faults))
    }

    /// At least one.
    pub(crate) fn some(mut faults: Vec<Fault>) -> Self {
        faults.sort_by_key(Fault::rank);
        Self(faults)
    }

    /// All of them.
    #[must_use]
    pub fn into_vec(self) -> Vec<Fault> {
        self.0
    }

    /// All of them.
    #[must_use]
    pub fn as_slice(&self) -> &[Fault] {
        &self.0
    }

    /// How many of them are of this severity.
    #[must_use]
    pub fn count(&self, severity: Severity) -> usize {
        let of_it = self.0.iter().filter(|fault| fault.severity == severity);
        of_it.count()
    }

    /// Renders all of them as rustc does, and a line that counts them; ends with a newline.
    #[must_use]
    pub fn render(&self, color: bool) -> String {
        let renderer = if color {
            Renderer::styled()
        } else {
            Renderer::plain()
        };
        let mut page = String::new();
        for fault in &self.0 {
            page.push_str(&fault.render(&renderer));
            page.push_str("\n\n");
        }
        let summary = clean(&self.to_string());
        let severity = match self.count(Severity::Error) {
            0 => Severity::Warning,
            _ => Severity::Error,
        };
        let summary = Group::with_title(level(severity).primary_title(summary));
        page.push_str(&renderer.render(&[summary]));
        page.push('\n');
        page
    }
}

/// One line: how many, and in which files.
impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let counted = |severity, noun| match self.count(severity) {
            0 => None,
            1 => Some(format!("1 {noun}")),
            count => Some(format!("{count} {noun}s")),
        };
        let errors = counted(Severity::Error, "fault");
        let warnings = counted(Severity::Warning, "warning");
        let counts: Vec<String> = errors.into_iter().chain(warnings).collect();
        write!(f, "{} in ", counts.join(" and "))?;
        let mut names: Vec<&str> = Vec::new();
        for fault in &self.0 {
            if !names.contains(&fault.name.as_str()) {
                names.push(&fault.name);
            }
        }
        match names.as_slice() {
            [one] => f.write_str(one),
            [one, two] => write!(f, "{one} and {two}"),
            [one, rest @ ..] => write!(f, "{one} and {} other files", rest.len()),
            [] => Ok(()),
        }
    }
}

impl Error for Faults {}

impl From<Fault> for Faults {
    fn from(fault: Fault) -> Self {
        Self(vec![fault])
    }
}
