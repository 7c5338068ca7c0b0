//! An HTTP request, judged a second time by a reader that knows no state and forgives nothing it
//! need not: what that refuses is never taken, and what both take says the same.
//!
//! Sources: RFC 9112 sections 2 to 7; RFC 9110 sections 5.5, 5.6.2 and 8.6.

use replyd::request::{Fault, Framing, Head, Rules};

use super::stream::{Seen, read_in_any_pieces};

const MAX_REQUEST_BYTES: usize = 1024;
const MAX_HEAD_BYTES: usize = 2048;

/// Source: README and `HEADERS_MAX` of `src/request/head.rs`.
const HEADERS_MAX: usize = 100;

pub(super) fn check(stream: &[u8]) {
    let rules = Rules {
        framing: Framing::Http,
        max_request_bytes: MAX_REQUEST_BYTES,
        max_head_bytes: MAX_HEAD_BYTES,
        keep_head: true,
        keep_body: true,
    };
    let places = [0.3, 0.5, 0.9].map(|part| place(stream.len(), part));
    let read = read_in_any_pieces(&rules, stream, &places);
    // Any bytes; only a panic would be wrong.
    let _parsed = Head::parse(stream).map(|head| head.headers().count());
    match (&read.seen, judge(stream)) {
        (
            Seen::Complete {
                head,
                body,
                received,
            },
            Some(judged),
        ) => {
            assert_eq!(*received, [&head[..], body].concat());
            assert_eq!(
                head.escape_ascii().to_string(),
                judged.head.escape_ascii().to_string()
            );
            assert_eq!(
                body.escape_ascii().to_string(),
                judged.body.escape_ascii().to_string()
            );
            assert_eq!(read.is_head, judged.method == "HEAD");
            assert_told(head, &judged);
        }
        (Seen::Complete { head, .. }, None) => {
            panic!("taken, and must be refused: {}", head.escape_ascii());
        }
        (Seen::Fault(fault), Some(judged)) if !is_matter_of_taste(*fault, &judged) => {
            panic!("{fault:?}, and nothing is wrong: {}", stream.escape_ascii());
        }
        _ => {}
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "somewhere in the stream will do"
)]
fn place(length: usize, part: f64) -> u16 {
    (length as f64 * part) as u16
}

/// What may be refused though it is well-formed: a target or a host that no client sends, and what
/// HTTP/1.1 has an own status for.
fn is_matter_of_taste(fault: Fault, judged: &Judged<'_>) -> bool {
    match fault {
        Fault::TargetInvalid | Fault::HostInvalid | Fault::ExpectUnknown => true,
        // A target is bytes to us and an URI to it.
        Fault::RequestLineInvalid => !judged.target.bytes().all(|byte| byte.is_ascii_graphic()),
        _ => false,
    }
}

/// A request that nothing is wrong with.
#[derive(Debug)]
struct Judged<'a> {
    head: &'a [u8],
    body: Vec<u8>,
    method: &'a str,
    target: &'a str,
    headers: Vec<(&'a str, &'a [u8])>,
}

/// Reads a request. `None`: it must be refused, or has no end.
fn judge(stream: &[u8]) -> Option<Judged<'_>> {
    let mut rest = stream;
    // Empty lines may come first.
    while let Some(more) = rest.strip_prefix(b"\r\n").or(rest.strip_prefix(b"\n")) {
        rest = more;
    }
    let line = take_line(&mut rest)?;
    let mut words = line.split(|byte| *byte == b' ');
    let (method, target, version) = (words.next()?, words.next()?, words.next()?);
    let is_http11 = match version {
        b"HTTP/1.1" => true,
        b"HTTP/1.0" => false,
        _ => return None,
    };
    let is_line = is_token(method) && method != b"CONNECT" && !target.is_empty();
    if !is_line || words.next().is_some() || target.iter().any(u8::is_ascii_control) {
        return None;
    }
    let mut headers = Vec::new();
    loop {
        let line = take_line(&mut rest)?;
        if line.is_empty() {
            break;
        }
        let colon = line.iter().position(|byte| *byte == b':')?;
        let (name, value) = (&line[..colon], trim(&line[colon + 1..]));
        if !is_token(name) || !is_text(value) {
            return None;
        }
        headers.push((std::str::from_utf8(name).ok()?, value));
    }
    let head = &stream[..stream.len() - rest.len()];
    if headers.len() > HEADERS_MAX || head.len() > MAX_HEAD_BYTES {
        return None;
    }
    Some(Judged {
        head,
        body: body(rest, &headers, is_http11)?,
        method: std::str::from_utf8(method).ok()?,
        target: std::str::from_utf8(target).ok()?,
        headers,
    })
}

/// A line without its end. A CR that no LF follows is in no line.
fn take_line<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let end = rest.iter().position(|byte| *byte == b'\n')?;
    let line = &rest[..end];
    *rest = &rest[end + 1..];
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    (!line.contains(&b'\r')).then_some(line)
}

fn is_text(bytes: &[u8]) -> bool {
    bytes
        .iter()
        .all(|byte| *byte == b'\t' || !byte.is_ascii_control())
}

/// Without the white space around it.
fn trim(mut value: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = value {
        value = rest;
    }
    value
}

fn is_token(word: &[u8]) -> bool {
    let is_tchar = |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte);
    !word.is_empty() && word.iter().all(is_tchar)
}

/// The body that the headers announce. `None`: they contradict each other or must be refused, or
/// it has no end.
fn body(rest: &[u8], headers: &[(&str, &[u8])], is_http11: bool) -> Option<Vec<u8>> {
    let all = |name: &str| -> Vec<&[u8]> {
        let headers = headers
            .iter()
            .filter(|header| header.0.eq_ignore_ascii_case(name));
        headers.map(|header| header.1).collect()
    };
    let hosts = all("host");
    if hosts.len() > 1 || (is_http11 && hosts.is_empty()) {
        return None;
    }
    let body = match (&all("content-length")[..], &all("transfer-encoding")[..]) {
        ([], []) => Vec::new(),
        ([length], []) => {
            let is_number = !length.is_empty() && length.iter().all(u8::is_ascii_digit);
            let length: u64 = std::str::from_utf8(length).ok()?.parse().ok()?;
            let body = rest.get(..usize::try_from(length).ok()?)?;
            is_number.then(|| body.to_vec())?
        }
        ([], [coding]) if is_http11 && coding.eq_ignore_ascii_case(b"chunked") => chunks(rest)?,
        _ => return None,
    };
    (body.len() <= MAX_REQUEST_BYTES).then_some(body)
}

/// The data of a chunked body.
fn chunks(mut rest: &[u8]) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let size = take_strict_line(&mut rest)?;
        let end = size.iter().position(|byte| !byte.is_ascii_hexdigit());
        let (digits, extension) = size.split_at(end.unwrap_or(size.len()));
        let is_extension = extension.is_empty() || trim(extension).starts_with(b";");
        // Source: `EXTENSION_BYTES_MAX` of `src/request/chunked.rs`.
        if digits.len() > 16 || !is_extension || !is_text(extension) || extension.len() > 256 {
            return None;
        }
        let size = u64::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?;
        let size = usize::try_from(size).ok()?;
        if size == 0 {
            break;
        }
        body.extend_from_slice(rest.get(..size)?);
        rest = rest[size..].strip_prefix(b"\r\n")?;
    }
    let before = rest.len();
    loop {
        let trailer = take_strict_line(&mut rest)?;
        if trailer.is_empty() {
            break;
        } else if !is_text(trailer) {
            return None;
        }
    }
    (before - rest.len() <= MAX_HEAD_BYTES).then_some(body)
}

/// A line that ends with CR LF, without it; there is neither of them in it.
fn take_strict_line<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let end = rest.windows(2).position(|pair| pair == b"\r\n")?;
    let line = &rest[..end];
    *rest = &rest[end + 2..];
    (!line.contains(&b'\r') && !line.contains(&b'\n')).then_some(line)
}

/// What a reply is told of the head is what is in it.
fn assert_told(head: &[u8], judged: &Judged<'_>) {
    let told = Head::parse(head).expect("a head that was found complete");
    assert_eq!(told.method, judged.method);
    let headers: Vec<_> = told.headers().collect();
    assert_eq!(headers, judged.headers);
    let (path, query) = (told.path, told.query);
    assert!(path.starts_with('/') || path == "*", "{path:?}");
    let query_is_there = query.is_empty() || judged.target.contains(&format!("?{query}"));
    let path_is_there = path == "/" || judged.target.contains(path);
    assert!(
        query_is_there && path_is_there,
        "{path:?} {query:?} of {:?}",
        judged.target
    );
}
