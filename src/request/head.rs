//! A look at a complete HTTP head, for replies that use it.

use std::mem::MaybeUninit;

/// Most headers of one request. Source: Apache's `LimitRequestFields`, 100.
pub(super) const HEADERS_MAX: usize = 100;

/// Room for the headers of one head; httparse fills as much as it needs.
pub(super) type HeaderRoom<'a> = [MaybeUninit<httparse::Header<'a>>; HEADERS_MAX];

/// Returns room for the headers of one head.
pub(super) fn header_room<'a>() -> HeaderRoom<'a> {
    [const { MaybeUninit::uninit() }; HEADERS_MAX]
}

/// What a complete HTTP head says. Borrows from it.
#[derive(Clone, Debug)]
pub struct Head<'a> {
    /// The method as it was sent; methods are case-sensitive.
    pub method: &'a str,

    /// The path, still percent-encoded: begins with `/`, or is `*`. May have bytes
    /// outside ASCII, which careless clients do not encode.
    pub path: &'a str,

    /// What follows the `?`, still percent-encoded; empty if nothing does.
    pub query: &'a str,

    headers: Vec<(&'a str, &'a [u8])>,
}

impl<'a> Head<'a> {
    /// Looks at a head that a [`Reader`](super::Reader) found complete.
    ///
    /// Parses it once more: most replies do not need to know, and keeping the
    /// result between two reads would cost every waiting connection its memory.
    ///
    /// Returns `None` for bytes that are no complete head, such as the empty range of
    /// a request whose head was not kept.
    #[must_use]
    pub fn parse(head: &'a [u8]) -> Option<Self> {
        let mut room = header_room();
        let mut request = httparse::Request::new(&mut []);
        let status = request.parse_with_uninit_headers(head, &mut room).ok()?;
        if status.is_partial() {
            return None;
        }
        let (path, query) = split_target(request.path?)?;
        Some(Self {
            method: request.method?,
            path,
            query,
            headers: request.headers.iter().map(|h| (h.name, h.value)).collect(),
        })
    }

    /// Returns name and value of each header, in the order they were sent.
    ///
    /// Names are as they were sent; compare them without regard to case.
    pub fn headers(&self) -> impl Iterator<Item = (&'a str, &'a [u8])> {
        self.headers.iter().copied()
    }
}

/// Splits a request target into path and query. A fragment, which has no business
/// there, is dropped.
///
/// Returns `None` for what is none of origin-form, absolute-form and asterisk-form.
///
/// Source: RFC 9112 section 3.2; RFC 3986 section 3 for the scheme and the authority.
pub(super) fn split_target(target: &str) -> Option<(&str, &str)> {
    let target = target.split_once('#').map_or(target, |(before, _)| before);
    let (place, query) = target.split_once('?').unwrap_or((target, ""));
    if place.starts_with('/') || place == "*" {
        return Some((place, query));
    }
    let (scheme, rest) = place.split_once("://")?;
    let is_scheme = scheme.starts_with(|c: char| c.is_ascii_alphabetic())
        && scheme
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte));
    let slash = rest.find('/').unwrap_or(rest.len());
    if !is_scheme || slash == 0 {
        return None;
    }
    match &rest[slash..] {
        "" => Some(("/", query)),
        path => Some((path, query)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_split_into_path_and_query() {
        for (target, expected) in [
            ("/", Some(("/", ""))),
            ("/p?q", Some(("/p", "q"))),
            ("/p?", Some(("/p", ""))),
            ("/p?a?b", Some(("/p", "a?b"))),
            ("/p?q#f", Some(("/p", "q"))),
            ("/p#f?q", Some(("/p", ""))),
            ("//h/p", Some(("//h/p", ""))),
            ("/p?u=http://h/", Some(("/p", "u=http://h/"))),
            ("*", Some(("*", ""))),
            ("http://h/p?q", Some(("/p", "q"))),
            ("HTTP://h:80", Some(("/", ""))),
            ("http://h?q=/x", Some(("/", "q=/x"))),
            ("http://h#f", Some(("/", ""))),
            ("http:///p", None),
            ("http://?q", None),
            ("://h/p", None),
            ("1http://h/p", None),
            ("http:/p", None),
            ("index.html", None),
            ("#f", None),
            ("?q", None),
        ] {
            assert_eq!(split_target(target), expected, "{target}");
        }
    }

    #[test]
    fn a_head_gives_its_parts() {
        let head = Head::parse(b"\r\nGET http://h/p?q#f HTTP/1.1\r\nHost: h\r\nX:\t\xff \r\n\r\n");
        let head = head.expect("a complete head");
        assert_eq!((head.method, head.path, head.query), ("GET", "/p", "q"));
        let headers: Vec<_> = head.headers().collect();
        assert_eq!(headers, [("Host", &b"h"[..]), ("X", &b"\xff"[..])]);
    }

    #[test]
    fn what_is_no_complete_head_gives_none() {
        for bytes in ["", "GET / HTTP/1.1\r\n", "GET x HTTP/1.1\r\n\r\n", "\x16"] {
            assert!(Head::parse(bytes.as_bytes()).is_none(), "{bytes:?}");
        }
    }
}
