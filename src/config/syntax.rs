//! What the parser says, in the words of who operates the server.

use std::sync::Arc;

use crate::config::document::{Document, Spot};
use crate::config::fault::Fault;
use crate::config::table;

fn is_unquoted(message: &str) -> bool {
    [
        "string values must be quoted",
        "invalid float",
        "invalid boolean",
    ]
    .contains(&message)
}

/// Turns the parser's error into a fault.
pub(super) fn fault(document: &Arc<Document>, error: &toml::de::Error) -> Fault {
    let span = error.span().unwrap_or_default();
    let (message, expected) = match error.message().split_once(", expected ") {
        Some((message, "nothing")) => (message, String::new()),
        Some((message, expected)) => (message, format!("expected {expected}")),
        None => (error.message(), String::new()),
    };
    let spot = Spot {
        document: Arc::clone(document),
        span: span.clone(),
    };
    let text = document.text.get(span).unwrap_or_default();
    match message {
        "string values must be quoted" if text.is_empty() => {
            Fault::at(spot, "no value after `=`", "expected a value")
        }
        // `user = nobody` and `level = info` are taken for numbers, because of `nan` and `inf`.
        _ if text.starts_with(char::is_alphabetic) && is_unquoted(message) => {
            Fault::at(spot, "a text without quotes", "")
                .help(format!("write \"{}\"", table::clip(text)))
        }
        "string values must be quoted" => {
            Fault::at(spot, "neither a number nor a text in quotes", "")
        }
        "duplicate key" => Fault::at(
            spot,
            "this key is there twice",
            "it stands further up already",
        ),
        _ => Fault::at(spot, message, expected),
    }
}
