//! Words of a value, quoted as systemd.syntax(7) says, and spans of time.

use std::time::Duration;

use jiff::SignedDuration;

/// Splits a value into words; `None` if a quote isn't closed or an escape is none.
pub(super) fn split(value: &str) -> Option<Vec<String>> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    let mut chars = value.chars();
    while let Some(c) = chars.next() {
        match (c, quote) {
            ('\\', _) => word.get_or_insert_default().push(escaped(&mut chars)?),
            (c, Some(open)) if c == open => quote = None,
            ('"' | '\'', None) => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (c, None) if c.is_whitespace() => words.extend(word.take()),
            (c, _) => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    quote.is_none().then_some(words)
}

/// What stands after a backslash.
fn escaped(chars: &mut std::str::Chars<'_>) -> Option<char> {
    Some(match chars.next()? {
        'n' => '\n',
        't' => '\t',
        'r' => '\r',
        's' => ' ',
        'x' => {
            let digits: String = chars.take(2).collect();
            let byte = u8::from_str_radix(&digits, 16).ok()?;
            byte.is_ascii().then(|| char::from(byte))?
        }
        c @ ('\\' | '"' | '\'') => c,
        _ => return None,
    })
}

/// The span of time of `30`, `5min 20s`, systemd.time(7); `None`: endless, or no span of time.
pub(super) fn span(value: &str) -> Option<Duration> {
    if let Ok(seconds) = value.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let span: SignedDuration = value.parse().ok()?;
    span.try_into().ok()
}

/// Whether systemd would put something else in its place: `%i`, `$NAME`.
pub(super) fn is_expanded(word: &str) -> bool {
    word.replace("%%", "").contains('%') || word.replace("$$", "").contains('$')
}

/// A word without the doubling that says it isn't expanded.
pub(super) fn literal(word: &str) -> String {
    word.replace("%%", "%").replace("$$", "$")
}
