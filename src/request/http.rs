//! Finds the end of an HTTP head, and judges it.
//!
//! The request line is judged at its LF, so that a client of another protocol is
//! told at once; the headers together at the empty line, by httparse. What httparse
//! leaves to its caller is here: which headers contradict each other.
//!
//! Sources: RFC 9112 sections 2 to 6; RFC 9110 sections 8.6 and 10.1.1.

use memchr::memchr;

use super::body::{Judged, Rest};
use super::chunked::Chunk;
use super::head::{header_room, split_target};
use super::{Fault, Rules};

/// Where the search for the end of a request is.
#[derive(Clone, Debug, Default)]
pub(super) struct Scan {
    /// Bytes that were searched and hold no end. All other framings need only this.
    pub(super) scanned: usize,

    /// Start of the line that is being searched.
    line: usize,

    /// The request line was there.
    has_request_line: bool,

    /// Its method is HEAD.
    pub(super) is_head: bool,
}

impl Scan {
    /// Looks for the end of the head; `None` if it is not there yet.
    ///
    /// # Errors
    /// The fault that comes first: a wrong first byte or request line, a head over
    /// `max_head_bytes`, then what [`judge`] finds.
    pub(super) fn advance(&mut self, rules: &Rules, input: &[u8]) -> Result<Option<Judged>, Fault> {
        // Lengths of heads are kept in 32 bits.
        let limit = rules.max_head_bytes.min(u32::MAX as usize);
        let window = &input[..input.len().min(limit)];
        // Ends at the end of the window: each turn takes a line of it.
        loop {
            if !self.has_request_line {
                check_start(&window[self.line..])?;
            }
            let Some(at) = memchr(b'\n', &window[self.scanned..]) else {
                self.scanned = window.len();
                return if input.len() > limit {
                    Err(Fault::HeadTooLarge)
                } else {
                    Ok(None)
                };
            };
            let end = self.scanned + at + 1;
            let line = &window[self.line..end];
            self.scanned = end;
            self.line = end;
            // A bare LF is allowed, as people type it: RFC 9112 section 2.2.
            let is_empty = matches!(line, b"\n" | b"\r\n");
            if self.has_request_line && is_empty {
                return judge(&window[..end], rules).map(Some);
            }
            if !self.has_request_line && !is_empty {
                self.is_head = check_request_line(line)?;
                self.has_request_line = true;
            }
        }
    }

    /// Whether `kept` is more than the empty lines that may precede a request line.
    pub(super) fn has_begun(&self, kept: &[u8]) -> bool {
        self.has_request_line || kept[self.line..].iter().any(|byte| *byte != b'\r')
    }
}

/// Refuses what cannot begin a request line: a TLS `ClientHello` never has an LF to
/// wait for.
///
/// Empty lines may come first, RFC 9112 section 2.2.
fn check_start(line: &[u8]) -> Result<(), Fault> {
    let is_possible = match line {
        [] | [b'\r' | b'\n'] | [b'\n', ..] => true,
        [b'\r', second, ..] => *second == b'\n',
        // `tchar` of RFC 9110 section 5.6.2, of which methods are made.
        [first, ..] => first.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(first),
    };
    is_possible.then_some(()).ok_or(Fault::RequestLineInvalid)
}

/// Judges a request line, given with its line end; returns whether it is a HEAD.
fn check_request_line(line: &[u8]) -> Result<bool, Fault> {
    let mut request = httparse::Request::new(&mut []);
    match request.parse(line) {
        // Partial, that is: the line is fine, and headers would follow.
        Ok(_) => {}
        Err(httparse::Error::Version) if names_version(line) => {
            return Err(Fault::VersionUnsupported);
        }
        Err(_) => return Err(Fault::RequestLineInvalid),
    }
    let (Some(method), Some(target)) = (request.method, request.path) else {
        return Err(Fault::RequestLineInvalid);
    };
    if method == "CONNECT" {
        return Err(Fault::ConnectRefused);
    }
    split_target(target).ok_or(Fault::TargetInvalid)?;
    Ok(method == "HEAD")
}

/// Whether the last word of a request line is an HTTP version, of RFC 9112 section
/// 2.3: that of the HTTP/2 preface is.
fn names_version(line: &[u8]) -> bool {
    let word = line.trim_ascii_end().rsplit(|byte| *byte == b' ').next();
    matches!(
        word,
        Some([b'H', b'T', b'T', b'P', b'/', b'0'..=b'9', b'.', b'0'..=b'9'])
    )
}

/// The headers that decide where the request ends, and whether it is one.
#[derive(Default)]
struct Fields<'a> {
    host: Option<&'a [u8]>,
    content_length: Option<&'a [u8]>,
    transfer_encoding: Option<&'a [u8]>,

    /// An expectation other than `100-continue`.
    has_unknown_expectation: bool,

    expects_continue: bool,
}

impl<'a> Fields<'a> {
    /// Picks them out.
    ///
    /// # Errors
    /// A header that must not be repeated is.
    fn pick(headers: &[httparse::Header<'a>]) -> Result<Self, Fault> {
        let mut fields = Self::default();
        for header in headers {
            let is = |name: &str| header.name.eq_ignore_ascii_case(name);
            let (field, fault) = if is("host") {
                (&mut fields.host, Fault::HostRepeated)
            } else if is("content-length") {
                (&mut fields.content_length, Fault::ContentLengthRepeated)
            } else if is("transfer-encoding") {
                (
                    &mut fields.transfer_encoding,
                    Fault::TransferEncodingRepeated,
                )
            } else {
                if is("expect") {
                    let is_known = header.value.eq_ignore_ascii_case(b"100-continue");
                    fields.has_unknown_expectation |= !is_known;
                    fields.expects_continue |= is_known;
                }
                continue;
            };
            if field.replace(header.value).is_some() {
                return Err(fault);
            }
        }
        Ok(fields)
    }
}

/// Judges a head that ends with its empty line.
///
/// # Errors
/// The first in this order: a malformed header or too many, a repeated one, `Host`,
/// the length of the body, the expectation, a body over `max_request_bytes`.
fn judge(head: &[u8], rules: &Rules) -> Result<Judged, Fault> {
    let mut room = header_room();
    let mut request = httparse::Request::new(&mut []);
    match request.parse_with_uninit_headers(head, &mut room) {
        Ok(httparse::Status::Complete(bytes)) if bytes == head.len() => {}
        Err(httparse::Error::TooManyHeaders) => return Err(Fault::HeadersTooMany),
        _ => return Err(Fault::HeaderInvalid),
    }
    let is_http11 = request.version == Some(1);
    let fields = Fields::pick(request.headers)?;
    check_host(fields.host, is_http11)?;
    let length = match (fields.content_length, fields.transfer_encoding) {
        (Some(_), Some(_)) => return Err(Fault::ContentLengthWithTransferEncoding),
        (None, Some(_)) if !is_http11 => return Err(Fault::TransferEncodingInHttp10),
        // RFC 9112 section 6.1: 501 for a coding that is not understood.
        (None, Some(coding)) if !coding.eq_ignore_ascii_case(b"chunked") => {
            return Err(Fault::TransferEncodingUnknown);
        }
        (None, Some(_)) => None,
        (Some(digits), None) => Some(content_length(digits)?),
        (None, None) => Some(0),
    };
    // HTTP/1.0 knows no expectations: RFC 9110 section 10.1.1.
    if is_http11 && fields.has_unknown_expectation {
        return Err(Fault::ExpectUnknown);
    }
    let rest = match length.map(usize::try_from) {
        None => Rest::Chunks(Chunk::FIRST),
        Some(Ok(bytes)) if bytes <= rules.max_request_bytes => Rest::Bytes(bytes),
        Some(_) => return Err(Fault::RequestTooLarge),
    };
    Ok(Judged {
        bytes: head.len(),
        is_head: request.method == Some("HEAD"),
        expects_continue: is_http11 && fields.expects_continue,
        rest,
    })
}

/// Source: RFC 9112 section 3.2; RFC 3986 section 3.2.2 for the bytes of a host.
fn check_host(host: Option<&[u8]>, is_http11: bool) -> Result<(), Fault> {
    let Some(host) = host else {
        return if is_http11 {
            Err(Fault::HostMissing)
        } else {
            Ok(())
        };
    };
    let is_host = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~%!$&'()*+,;=:[]".contains(byte);
    // Empty is what a client sends that has no name for the server.
    if host.iter().all(is_host) {
        Ok(())
    } else {
        Err(Fault::HostInvalid)
    }
}

/// Reads `1*DIGIT`; a list, a sign, nothing at all and what exceeds 64 bits is a
/// fault. Source: RFC 9110 section 8.6.
fn content_length(digits: &[u8]) -> Result<u64, Fault> {
    let fault = Fault::ContentLengthInvalid;
    if digits.is_empty() {
        return Err(fault);
    }
    digits.iter().try_fold(0_u64, |length, byte| {
        let digit = char::from(*byte).to_digit(10).ok_or(fault)?;
        let length = length.checked_mul(10).ok_or(fault)?;
        length.checked_add(u64::from(digit)).ok_or(fault)
    })
}
