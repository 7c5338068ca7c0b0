//! One table by serde, going on after each fault.
//!
//! Serde stops at the first error. So the entry it points at is taken out of the table and the
//! rest is read again, until it reads: every wrong key is found, each by serde's own check.

use std::mem;
use std::ops::Range;
use std::sync::Arc;

use serde::de::DeserializeOwned;
use toml::Spanned;
use toml::de::{DeArray, DeTable, DeValue, ValueDeserializer};

use crate::config::document::{Document, Spot};
use crate::config::fault::Fault;

/// The most faults told of one table: each costs a copy of it.
const FAULTS_MAX: usize = 64;

/// A table that was read.
#[derive(Debug)]
pub(crate) struct Outcome<T> {
    /// What it says; the default for each entry that was wrong.
    pub value: T,

    /// The dotted keys at which or under which something was wrong, and "" if it was the table
    /// itself.
    pub wrong: Vec<String>,
}

/// Reads a table, `prefix` being what its keys are called with ("workers.", or nothing).
pub(crate) fn read<T: DeserializeOwned + Default>(
    document: &Arc<Document>,
    prefix: &str,
    table: &Spanned<DeValue<'_>>,
    faults: &mut Vec<Fault>,
) -> Outcome<T> {
    if !table.get_ref().is_table() {
        let message = format!("expected a table, found {}", kind(table.get_ref()));
        let key = prefix.trim_end_matches('.');
        faults.push(explain(document, table.span(), key, &message));
        let (value, wrong) = (T::default(), vec![String::new()]);
        return Outcome { value, wrong };
    }
    let mut left = table.clone();
    let mut removed: Vec<Vec<String>> = Vec::new();
    for _ in 0..FAULTS_MAX {
        let error = match T::deserialize(ValueDeserializer::from(left.clone())) {
            Ok(value) => {
                let prefixes = |path: &Vec<String>| {
                    let path = path.clone();
                    (1..=path.len()).map(move |length| path[..length].join("."))
                };
                let wrong = removed.iter().flat_map(prefixes).collect();
                return Outcome { value, wrong };
            }
            Err(error) => error,
        };
        let span = error.span().unwrap_or_else(|| table.span());
        let path = match left.get_mut() {
            DeValue::Table(entries) => remove(entries, &span),
            _ => None,
        };
        let Some(path) = path else {
            // Serde points at no entry: at the table, then.
            let key = prefix.trim_end_matches('.');
            faults.push(explain(document, table.span(), key, error.message()));
            break;
        };
        // What is left of a list or table after a fault in it may be wrong because of that.
        let follows =
            |earlier: &Vec<String>| path.len() < earlier.len() && earlier.starts_with(&path);
        if !removed.iter().any(follows) {
            let key = format!("{prefix}{}", dotted(&path));
            faults.push(explain(document, span, &key, error.message()));
        }
        removed.push(path);
    }
    Outcome {
        value: T::default(),
        wrong: keys(table),
    }
}

fn kind(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::Array(_) => "a list",
        DeValue::String(_) => "a string",
        _ => "a plain value",
    }
}

/// Every key of a table that can't be used at all, and "" for the table itself.
fn keys(table: &Spanned<DeValue<'_>>) -> Vec<String> {
    let entries = table.get_ref().as_table();
    let keys = entries.into_iter().flat_map(DeTable::keys);
    let keys = keys.map(|key| key.get_ref().to_string());
    keys.chain([String::new()]).collect()
}

/// Takes out the innermost entry that `span` is the key of or lies in, and returns its path.
///
/// A subtable is searched wherever it is: with a header of its own it lies outside its parent.
fn remove(table: &mut DeTable<'_>, span: &Range<usize>) -> Option<Vec<String>> {
    let mut hit = None;
    for (key, value) in table.iter_mut() {
        let name = key.get_ref().to_string();
        // Before its value: the header of a list of tables holds the key too.
        if key.span() == *span {
            hit = Some(key.clone());
            break;
        }
        if let Some(mut path) = remove_inside(value.get_mut(), span) {
            path.insert(0, name);
            return Some(path);
        }
        if holds(&value.span(), span) {
            hit = Some(key.clone());
            break;
        }
    }
    let (key, _) = table.remove_entry(&hit?)?;
    Some(vec![key.get_ref().to_string()])
}

/// The step of a path into a list.
const ELEMENT: &str = "[]";

fn remove_inside(value: &mut DeValue<'_>, span: &Range<usize>) -> Option<Vec<String>> {
    match value {
        DeValue::Table(table) => remove(table, span),
        DeValue::Array(list) => {
            let hit = list.iter().position(|one| holds(&one.span(), span))?;
            let rest = mem::replace(list, DeArray::new()).into_iter().enumerate();
            *list = rest
                .filter(|(i, _)| *i != hit)
                .map(|(_, one)| one)
                .collect();
            Some(vec![ELEMENT.to_owned()])
        }
        _ => None,
    }
}

fn holds(outer: &Range<usize>, inner: &Range<usize>) -> bool {
    outer.start <= inner.start && inner.end <= outer.end
}

/// Joins a path to a key. Of a list's element it is the list's: the caret tells which one.
fn dotted(path: &[String]) -> String {
    let keys = path.iter().filter(|step| *step != ELEMENT);
    let keys: Vec<&str> = keys.map(|key| clip(key)).collect();
    keys.join(".")
}

/// Cuts a word of the file that is too long for a message.
pub(crate) fn clip(word: &str) -> &str {
    let end = word.char_indices().nth(60).map_or(word.len(), |(i, _)| i);
    &word[..end]
}

/// Turns serde's message into a fault, in the words of who operates the server.
fn explain(document: &Arc<Document>, span: Range<usize>, key: &str, message: &str) -> Fault {
    let spot = Spot {
        document: Arc::clone(document),
        span,
    };
    if message.starts_with("unknown field `") {
        let (_, allowed) = message.rsplit_once("`, expected ").unwrap_or_default();
        let allowed: Vec<&str> = allowed.split('`').skip(1).step_by(2).collect();
        return unknown(spot, key, &allowed);
    }
    let (label, help) = match message.split_once('\n') {
        Some((label, help)) => (label, Some(help)),
        None => (message, None),
    };
    let fault = Fault::at(spot, format!("wrong value for `{key}`"), relabel(label));
    match help {
        Some(help) => fault.help(help),
        None => fault,
    }
}

/// A key that does not exist, and the ones that do.
pub(crate) fn unknown(spot: Spot, key: &str, allowed: &[&str]) -> Fault {
    let (_, last) = key.rsplit_once('.').unwrap_or(("", key));
    let help = match nearest(last, allowed) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("allowed here: {}", allowed.join(", ")),
    };
    Fault::at(spot, format!("unknown key `{key}`"), "").help(help)
}

/// The word that was meant: a third of the letters may be wrong, or the unit be missing.
pub(crate) fn nearest<'a>(word: &str, words: &[&'a str]) -> Option<&'a str> {
    let word = clip(word);
    let distance = |other: &str| strsim::damerau_levenshtein(word, other);
    let near = words.iter().copied().min_by_key(|other| distance(other));
    let near = near.filter(|near| distance(near) <= near.len().max(3) / 3);
    let longer = |other: &&&str| word.len() > 3 && other.starts_with(word);
    near.or_else(|| words.iter().find(longer).copied())
}

/// Turns "invalid type: string \"x\", expected a number" into "expected a number, found \"x\"".
fn relabel(label: &str) -> String {
    let kinds = ["invalid type: ", "invalid value: "];
    let Some(rest) = kinds.iter().find_map(|kind| label.strip_prefix(kind)) else {
        return label.to_owned();
    };
    let Some((found, expected)) = rest.rsplit_once(", expected ") else {
        return label.to_owned();
    };
    let found = match found.split_once(' ') {
        _ if found == "sequence" => "a list",
        _ if found == "map" => "a table",
        // An integer that is too long for 64 bits has its type behind it.
        Some(("integer" | "boolean", value)) => value.split('`').nth(1).unwrap_or(value),
        Some(("string", text)) if text.len() <= 60 => text,
        Some(("string", _)) => "a long text",
        Some(("floating", value)) => value.trim_start_matches("point ").trim_matches('`'),
        _ => found,
    };
    format!("expected {expected}, found {found}")
}
