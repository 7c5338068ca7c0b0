//! Drafts as TOML, and as a summary.
//!
//! A line with `#` and a space is prose. A line with `#` and no space is a setting that is commented
//! out: without its `#`, it is good.

use std::fmt::Write as _;
use std::path::PathBuf;

use toml::Value;

use crate::config::written::{escape, inline};
use crate::import::draft::{Draft, Remark, Setting, Standing};

/// How wide comments are, in characters.
const WIDTH: usize = 100;

/// The keys of a service, in the order in which they are written.
const ORDER: [&str; 12] = [
    "listen",
    "backlog",
    "defer_accept_seconds",
    "keepalive_seconds",
    "max_connections",
    "max_connections_per_source",
    "allow",
    "deny",
    "read",
    "reply_timeout_seconds",
    "reply.text",
    "reply.echo",
];

/// The whole file.
pub(super) fn toml(paths: &[PathBuf], notes: &[String], drafts: &[Draft]) -> String {
    let mut text = String::new();
    let paths: Vec<String> = paths
        .iter()
        .map(|path| path.display().to_string())
        .collect();
    comment(
        &mut text,
        "",
        &format!("Made by `replyd import` of {}.", paths.join(", ")),
    );
    let how = "A line with # and a space is a remark. A line with # and no space is a setting that is \
               commented out. What stands behind a setting is what it was made of.";
    comment(&mut text, "", how);
    if !notes.is_empty() {
        text.push_str("#\n");
    }
    for note in notes {
        comment(&mut text, "  ", note);
    }
    for draft in drafts {
        text.push_str("\n\n");
        heading(&mut text, draft);
        text.push('\n');
        if draft.refused.is_none() {
            for line in table(draft).lines() {
                let is_out = !draft.is_live() && !line.starts_with('#');
                let out = if is_out { "#" } else { "" };
                let _infallible = writeln!(text, "{out}{line}");
            }
        }
        ending(&mut text, draft);
    }
    text
}

/// The settings of a draft, as TOML.
pub(super) fn table(draft: &Draft) -> String {
    let mut text = "[[service]]\n".to_owned();
    let name = Value::from(draft.name.as_str());
    line(&mut text, "name", &name, &draft.named);
    let mut settings: Vec<&Setting> = draft.settings.iter().collect();
    settings.sort_by_key(|setting| ORDER.iter().position(|key| *key == setting.key));
    for Setting { key, value, from } in settings {
        line(&mut text, key, value, from);
    }
    if !draft.command.is_empty() {
        text.push_str("[service.reply.command]\n");
    }
    for Setting { key, value, from } in &draft.command {
        line(&mut text, key, value, from);
    }
    text
}

/// A setting and what it was made of: behind it, or above where that gets too long.
fn line(text: &mut String, key: &str, value: &Value, from: &str) {
    let setting = format!("{key} = {}", inline(value));
    let from = clean(from);
    if setting.chars().count() + from.chars().count() < WIDTH {
        let _infallible = writeln!(text, "{setting}  # {from}");
    } else {
        comment(text, "", &from);
        let _infallible = writeln!(text, "{setting}");
    }
}

/// What it is, and why it is commented out.
fn heading(text: &mut String, draft: &Draft) {
    let name = clean(&draft.name);
    let origin = clean(&draft.origin);
    let _infallible = writeln!(text, "# ── {name} ── {origin}");
    if let Some(Remark { said, why }) = &draft.refused {
        comment(text, "", &format!("Not carried over: {said}: {why}."));
        return;
    }
    if let Some(said) = &draft.disabled {
        comment(text, "", &format!("Disabled: {said}."));
    }
    for Remark { said, why } in &draft.held {
        comment(
            text,
            "",
            &format!("Commented out until you have decided: {said}: {why}."),
        );
    }
}

/// What was not carried over.
fn ending(text: &mut String, draft: &Draft) {
    if draft.refused.is_some() {
        for said in &draft.said {
            comment(text, "  ", said);
        }
        return;
    }
    if !draft.remarks.is_empty() {
        comment(text, "", "Not carried over:");
    }
    for Remark { said, why } in &draft.remarks {
        comment(text, "  ", &format!("{said}: {why}"));
    }
    if !draft.moot.is_empty() {
        comment(
            text,
            "",
            &format!("Needs no key: {}", draft.moot.join("; ")),
        );
    }
}

/// Prose, in lines of [`WIDTH`]; all but the first are indented further.
fn comment(text: &mut String, indent: &str, prose: &str) {
    let prose = clean(prose);
    let mut width = 0;
    for word in prose.split_whitespace() {
        let length = word.chars().count() + 1;
        if width == 0 {
            let _infallible = write!(text, "# {indent}{word}");
            width = 1 + indent.len() + length;
        } else if width + length > WIDTH {
            let _infallible = write!(text, "\n# {indent}  {word}");
            width = 3 + indent.len() + length;
        } else {
            let _infallible = write!(text, " {word}");
            width += length;
        }
    }
    text.push('\n');
}

/// Without the characters that a TOML comment may not have, or that a terminal does not show.
fn clean(text: &str) -> String {
    escape(&text.replace('\t', " "))
}

/// How many came over whole, in part, and not at all, and which are not live.
pub(super) fn summary(drafts: &[Draft]) -> String {
    let of = |standing| {
        drafts
            .iter()
            .filter(move |draft| draft.standing() == standing)
    };
    let whole = of(Standing::Live)
        .filter(|draft| draft.remarks.is_empty())
        .count();
    let plural = if drafts.len() == 1 { "" } else { "s" };
    let mut text = format!("{} service{plural}\n", drafts.len());
    let counts = [
        (whole, "carried over whole"),
        (
            of(Standing::Live).count() - whole,
            "carried over with remarks",
        ),
        (
            of(Standing::Held).count(),
            "commented out until you have decided",
        ),
        (of(Standing::Disabled).count(), "commented out: disabled"),
        (of(Standing::Refused).count(), "not carried over"),
    ];
    for (count, what) in counts {
        if count > 0 {
            let _infallible = writeln!(text, "{count:5} {what}");
        }
    }
    for draft in drafts {
        let refused = draft
            .refused
            .iter()
            .filter(|_| draft.standing() == Standing::Refused);
        let held = draft
            .held
            .iter()
            .filter(|_| draft.standing() == Standing::Held);
        for Remark { said, why } in refused.chain(held) {
            let line = format!("{}: {said}: {why}", draft.origin);
            let _infallible = writeln!(text, "{}", clean(&line));
        }
    }
    text
}
