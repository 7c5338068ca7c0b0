//! A file's text and the place of every key in it.
//!
//! The config types carry no places: whoever finds a fault names the key by a `Place`, and only
//! then is it looked up. It is also how a rule asks whether a key was written or left out.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// One file, as read.
#[derive(Debug)]
pub struct Document {
    /// Its rank among all files of this config; the main one is 0.
    pub rank: usize,

    /// What errors call it: the path as given, or as an `include` led to it.
    pub name: String,

    /// At most 1 MiB.
    pub text: Arc<str>,

    /// Its root table.
    pub root: Node,

    /// Where each line begins, in bytes.
    lines: Vec<usize>,
}

impl Document {
    /// Notes a file's text, and the places in it.
    #[must_use]
    pub fn new(rank: usize, name: &str, text: &Arc<str>, root: Node) -> Self {
        let ends = text.match_indices('\n').map(|(end, _)| end + 1);
        Self {
            rank,
            name: name.to_owned(),
            text: Arc::clone(text),
            root,
            lines: std::iter::once(0).chain(ends).collect(),
        }
    }

    /// The line that a byte of the text is in, from 1, and where that line begins.
    #[must_use]
    pub fn line(&self, byte: usize) -> (usize, usize) {
        let line = self.lines.partition_point(|start| *start <= byte);
        (line, self.lines[line - 1])
    }
}

/// A value and everything in it, as byte ranges of the text.
#[derive(Debug, Default)]
pub struct Node {
    /// The value; of a table written with a header, that header; of a dotted key, that part of it.
    pub span: Range<usize>,

    /// A table's entries by key, a list's by their index from 0.
    pub entries: BTreeMap<String, Node>,
}

impl Node {
    /// Notes the places in a parsed table. The parser bounds how deep they nest.
    #[must_use]
    pub fn new(span: Range<usize>, table: &DeTable<'_>) -> Self {
        let entry = |(key, value): (&Spanned<_>, &Spanned<DeValue<'_>>)| {
            let key: &std::borrow::Cow<'_, str> = key.get_ref();
            (key.to_string(), Self::value(value))
        };
        let entries = table.iter().map(entry).collect();
        Self { span, entries }
    }

    fn value(value: &Spanned<DeValue<'_>>) -> Self {
        match value.get_ref() {
            DeValue::Table(table) => Self::new(value.span(), table),
            DeValue::Array(list) => {
                let entry = |(i, value)| (usize::to_string(&i), Self::value(value));
                let entries = list.iter().enumerate().map(entry).collect();
                let span = value.span();
                Self { span, entries }
            }
            _ => Self {
                span: value.span(),
                entries: BTreeMap::new(),
            },
        }
    }

    /// Follows `path` as far as it leads; says whether that was to its end.
    fn follow<'a>(&self, path: impl Iterator<Item = &'a str>) -> (&Self, bool) {
        let mut node = self;
        for step in path {
            match node.entries.get(step) {
                Some(next) => node = next,
                None => return (node, false),
            }
        }
        (node, true)
    }
}

/// Which key of the config, independent of the file it is in.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Place {
    /// The service by its index in `Config::services`; `None`: outside of services.
    pub service: Option<usize>,

    /// Dotted: `reply.status`, `admin.listen`; one element of a list: `listen.1`.
    pub key: String,
}

impl Place {
    /// A key of a service; empty: the service as a whole.
    #[must_use]
    pub fn service(index: usize, key: &str) -> Self {
        Self {
            service: Some(index),
            key: key.to_owned(),
        }
    }

    /// A key that belongs to no service: `queue.capacity`.
    #[must_use]
    pub fn top(key: &str) -> Self {
        Self {
            service: None,
            key: key.to_owned(),
        }
    }
}

/// A part of a file.
#[derive(Clone, Debug)]
pub struct Spot {
    /// The file.
    pub document: Arc<Document>,

    /// Bytes of its text.
    pub span: Range<usize>,
}

/// Where a spot is in its file, from 1, as an editor counts: in characters.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Position {
    /// The line it begins in.
    pub line: usize,

    /// The first character of it.
    pub column: usize,

    /// The one after its last in that line.
    pub end_column: usize,
}

impl Spot {
    /// Where it is in its file.
    #[must_use]
    pub fn position(&self) -> Position {
        let Range { start, end } = self.first_line();
        let (line, line_start) = self.document.line(start);
        let count = |range: Range<usize>| {
            let text = self.document.text.get(range);
            text.map_or(0, |text| text.chars().count())
        };
        let column = count(line_start..start) + 1;
        Position {
            line,
            column,
            end_column: column + count(start..end),
        }
    }

    /// The part of it in its first line: nobody needs a caret along a page of text.
    #[must_use]
    pub fn first_line(&self) -> Range<usize> {
        let quoted = self.document.text.get(self.span.clone());
        let length = quoted
            .and_then(|text| text.lines().next())
            .map_or(0, str::len);
        self.span.start..self.span.start + length
    }
}

/// All files of a config, and which service came from where.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    /// The main file first.
    pub documents: Vec<Arc<Document>>,

    /// For each service: its document, and its index in there.
    pub services: Vec<(Arc<Document>, usize)>,
}

impl Sources {
    /// Tells whether the key is written anywhere.
    #[must_use]
    pub fn has(&self, place: &Place) -> bool {
        self.follow(place).is_some_and(|(_, end)| end)
    }

    /// Finds the value of a key, or where it is missing: the table or list it would be in.
    /// `None` if that is the file as a whole.
    #[must_use]
    pub fn find(&self, place: &Place) -> Option<Spot> {
        self.follow(place)
            .map(|(spot, _)| spot)
            .filter(|spot| !spot.span.is_empty())
    }

    /// Finds a key that is written, by its steps: unlike a [`Place`]'s, one of them may hold a dot.
    /// No steps at all are the service as a whole.
    #[must_use]
    pub fn written(&self, service: Option<usize>, steps: &[&str]) -> Option<Spot> {
        let (spot, end) = self.follow_steps(service, steps.iter().copied())?;
        end.then_some(spot)
    }

    fn follow(&self, place: &Place) -> Option<(Spot, bool)> {
        let steps = place.key.split('.').filter(|step| !step.is_empty());
        self.follow_steps(place.service, steps)
    }

    fn follow_steps<'a>(
        &self,
        service: Option<usize>,
        steps: impl Iterator<Item = &'a str>,
    ) -> Option<(Spot, bool)> {
        let (document, (node, end)) = if let Some(service) = service {
            let (document, index) = self.services.get(service)?;
            let header = ["service", &index.to_string()];
            let (table, _) = document.root.follow(header.into_iter());
            (document, table.follow(steps))
        } else {
            let document = self.documents.first()?;
            (document, document.root.follow(steps))
        };
        let spot = Spot {
            document: Arc::clone(document),
            span: node.span.clone(),
        };
        Some((spot, end))
    }
}
