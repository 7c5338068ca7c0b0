//! Any text as a template, any request in it: it is refused, or fails, or makes no more than it
//! may; and as HTML nothing that a client sends becomes a tag.

use std::time::{Instant, UNIX_EPOCH};

use replyd::peer::Peer;
use replyd::reply::Asked;
use replyd::reply::calendar::Calendar;
use replyd::reply::template::Template;

use super::texts;

/// Source: `OUTPUT_BYTES_MAX` of `src/reply/template.rs`.
const OUTPUT_BYTES_MAX: usize = 1024 * 1024;

/// What a template can have that is not escaped as it asks for just that, and `<` itself.
const UNESCAPED: [&str; 3] = ["safe", "autoescape", "<"];

/// The kind of the service, a template, a request, and the value of a header.
pub(super) fn check(bytes: &[u8]) {
    let [kind, text, request, header] = texts(bytes);
    let (is_http, is_html) = (kind.contains('h'), kind.contains('e'));
    let template = match Template::new(&text, is_http, is_html) {
        Ok(template) => template,
        Err(error) => {
            assert!(!error.message.is_empty(), "no reason");
            let lines = text.lines().count() + 1;
            assert!(error.line.is_none_or(|line| line <= lines), "{error:?}");
            return;
        }
    };
    let calendar = Calendar::new(UNIX_EPOCH);
    let head = format!(
        "GET /<p>?<q> HTTP/1.1\r\nHost: h\r\nX: {}\r\n\r\n",
        header.replace(['\r', '\n'], " ")
    );
    let asked = Asked {
        service: "test",
        peer: Peer::Unix,
        calendar: &calendar,
        now: Instant::now(),
        head: if is_http { head.as_bytes() } else { b"" },
        request: request.as_bytes(),
        received: request.as_bytes(),
        is_head: false,
    };
    let Ok(rendered) = template.render(&asked) else {
        return;
    };
    assert!(
        rendered.len() <= OUTPUT_BYTES_MAX,
        "{} bytes",
        rendered.len()
    );
    assert_eq!(
        template.render(&asked).ok().as_ref(),
        Some(&rendered),
        "another time, another text"
    );
    let rendered = String::from_utf8(rendered).expect("text of text");
    if !Template::is_template(&text) {
        assert_eq!(rendered, text);
    }
    if is_html && !UNESCAPED.iter().any(|word| text.contains(word)) {
        assert!(
            !rendered.contains('<'),
            "a tag that is not the template's: {rendered:?}"
        );
    }
}
