//! The lines of xinetd's files.
//!
//! As xinetd 2.3.15 reads them: a comment has a line of its own, a line isn't continued, and
//! nothing is quoted.

use crate::import::attribute::{Attribute, Operator};

/// What stands at the top of a file.
#[derive(Debug)]
pub(in crate::import) enum Entry {
    Defaults(Block),
    Service(Block),
    /// The line, and the file or folder it names.
    Include(String, String),
    /// A line that is none of these.
    Stray(String),
}

/// `service NAME { … }`.
#[derive(Debug, Default)]
pub(in crate::import) struct Block {
    /// Empty: that of `defaults`.
    pub(super) name: String,

    /// The file and the line.
    pub(super) origin: String,
    pub(super) attributes: Vec<Attribute>,

    /// Lines between the braces that are no attributes.
    pub(super) strays: Vec<String>,
}

/// Whether a text is xinetd's: it has one of the four words at the start of a line.
pub(in crate::import) fn is_one(text: &str) -> bool {
    text.lines().any(|line| {
        let mut words = line.split_whitespace();
        matches!(
            (words.next(), words.next(), words.next()),
            (Some("service"), Some(_), None | Some("{"))
                | (Some("include" | "includedir"), Some(_), None)
                | (Some("defaults"), None | Some("{"), None)
        )
    })
}

/// Reads a file called `origin`.
pub(in crate::import) fn parse(text: &str, origin: &str) -> Vec<Entry> {
    let mut entries = Vec::new();
    let mut lines = text
        .lines()
        .enumerate()
        .map(|(number, line)| (number + 1, line.trim()))
        .filter(|(_, line)| !line.is_empty() && !line.starts_with('#'));
    while let Some((number, line)) = lines.next() {
        let (head, has_brace) = match line.strip_suffix('{') {
            Some(head) => (head.trim_end(), true),
            None => (line, false),
        };
        let words: Vec<&str> = head.split_whitespace().collect();
        let block = || Block {
            origin: format!("{origin}:{number}"),
            ..Block::default()
        };
        entries.push(match words.as_slice() {
            ["defaults"] => Entry::Defaults(fill(block(), has_brace, &mut lines)),
            ["service", name] => {
                let block = Block {
                    name: (*name).to_owned(),
                    ..block()
                };
                Entry::Service(fill(block, has_brace, &mut lines))
            }
            ["include" | "includedir", target] => {
                Entry::Include(line.to_owned(), (*target).to_owned())
            }
            _ => Entry::Stray(line.to_owned()),
        });
    }
    entries
}

/// Reads a block up to its closing brace, or to the end of the file.
fn fill<'t>(
    mut block: Block,
    mut is_open: bool,
    lines: &mut impl Iterator<Item = (usize, &'t str)>,
) -> Block {
    for (_, line) in lines {
        match line {
            "}" => return block,
            "{" if !is_open => is_open = true,
            _ => match attribute(line) {
                Some(attribute) => block.attributes.push(attribute),
                None => block.strays.push(line.to_owned()),
            },
        }
    }
    block.strays.push("no } at the end".to_owned());
    block
}

fn attribute(line: &str) -> Option<Attribute> {
    let equals = line.find('=')?;
    let (before, value) = (&line[..equals], &line[equals + 1..]);
    let (key, operator) = match before.strip_suffix(['+', '-']) {
        Some(key) if before.ends_with('+') => (key, Operator::Add),
        Some(key) => (key, Operator::Remove),
        None => (before, Operator::Set),
    };
    let key = key.trim();
    let is_key = !key.is_empty() && !key.contains(char::is_whitespace);
    is_key.then(|| Attribute {
        key: key.to_owned(),
        operator,
        value: value.trim().to_owned(),
        said: line.split_whitespace().collect::<Vec<_>>().join(" "),
    })
}
