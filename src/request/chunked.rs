//! A chunked body: sizes, extensions and trailers are dropped, data is kept.
//!
//! ```text
//! 5;name=value CR LF  hello CR LF  0 CR LF  Trailer: value CR LF  CR LF
//! ```
//!
//! Strict: every CR has its LF and every LF its CR. Servers that were lenient here
//! disagreed with the proxy before them about where a request ends.
//!
//! Source: RFC 9112 section 7.1.

use super::cursor::Cursor;
use super::{Fault, Rules};

/// Longest size in hexadecimal digits: what 64 bits hold.
const SIZE_DIGITS_MAX: u8 = 16;

/// Longest extensions of one chunk in bytes, white space included. RFC 9112 section
/// 7.1.1 asks for a limit and names none. They take no memory; how many chunks carry
/// some is bounded by `max_request_bytes` and the request's timeout.
const EXTENSION_BYTES_MAX: u16 = 256;

/// What is expected next.
#[derive(Clone, Copy, Debug)]
pub(super) enum Chunk {
    /// A digit of the size, or what may follow it.
    Size { size: u64, digits: u8 },

    /// Extensions, or the CR after them.
    Extension { size: u64, extension: Extension },

    /// The LF after the size.
    SizeLf { size: u64 },

    /// Data; `left` bytes of it, never 0.
    Data { left: usize },

    /// The CR after the data.
    DataCr,

    /// The LF after the data.
    DataLf,

    /// The trailer section, of which there were `bytes`.
    Trailer { bytes: usize, place: Place },

    /// Nothing.
    End,
}

/// How far the extensions of a chunk have come.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Extension {
    /// How many bytes there were.
    bytes: u16,

    /// Their `;` was there; before it only white space is allowed.
    is_named: bool,
}

/// Where in a trailer section.
#[derive(Clone, Copy, Debug)]
pub(super) enum Place {
    /// At the start of a line.
    Start,

    /// Inside a line.
    Line,

    /// At the LF of a line.
    Lf,

    /// At the LF of the empty line.
    LastLf,
}

impl Chunk {
    /// The start of a chunk.
    pub(super) const FIRST: Self = Self::Size { size: 0, digits: 0 };

    /// Takes what is there; returns whether the body is complete.
    ///
    /// # Errors
    /// * `ChunkInvalid`, `ChunkExtensionTooLong`, `TrailerInvalid` — malformed.
    /// * `RequestTooLarge` — a size that would lead over `max_request_bytes`.
    /// * `TrailerTooLarge` — more than `max_head_bytes` of trailers.
    pub(super) fn advance(
        &mut self,
        rules: &Rules,
        cursor: &mut Cursor<'_>,
    ) -> Result<bool, Fault> {
        // Ends at the end of the input: each turn takes at least a byte of it.
        loop {
            *self = match *self {
                Self::End => return Ok(true),
                Self::Data { left } => match left - cursor.take(left) {
                    0 => Self::DataCr,
                    left => {
                        *self = Self::Data { left };
                        return Ok(false);
                    }
                },
                expected => match cursor.next() {
                    Some(byte) => expected.after(byte, rules, cursor.taken)?,
                    None => return Ok(false),
                },
            };
        }
    }

    /// What is expected after `byte`; `taken` is the length of the data so far.
    fn after(self, byte: u8, rules: &Rules, taken: usize) -> Result<Self, Fault> {
        match (self, byte) {
            (Self::Size { size, digits }, _) => after_size(size, digits, byte),
            (Self::Extension { size, extension }, _) => after_extension(size, extension, byte),
            (Self::SizeLf { size: 0 }, b'\n') => Ok(Self::Trailer {
                bytes: 0,
                place: Place::Start,
            }),
            (Self::SizeLf { size }, b'\n') => match usize::try_from(size) {
                Ok(left) if left <= rules.max_request_bytes.saturating_sub(taken) => {
                    Ok(Self::Data { left })
                }
                _ => Err(Fault::RequestTooLarge),
            },
            (Self::DataCr, b'\r') => Ok(Self::DataLf),
            (Self::DataLf, b'\n') => Ok(Self::FIRST),
            (Self::Trailer { bytes, .. }, _) if bytes >= rules.max_head_bytes => {
                Err(Fault::TrailerTooLarge)
            }
            (Self::Trailer { bytes, place }, _) => after_trailer(bytes + 1, place, byte),
            _ => Err(Fault::ChunkInvalid),
        }
    }
}

fn after_size(size: u64, digits: u8, byte: u8) -> Result<Chunk, Fault> {
    if let Some(digit) = char::from(byte).to_digit(16) {
        return if digits < SIZE_DIGITS_MAX {
            Ok(Chunk::Size {
                size: size << 4 | u64::from(digit),
                digits: digits + 1,
            })
        } else {
            Err(Fault::ChunkInvalid)
        };
    }
    match byte {
        _ if digits == 0 => Err(Fault::ChunkInvalid),
        b'\r' => Ok(Chunk::SizeLf { size }),
        _ => after_extension(size, Extension::default(), byte),
    }
}

fn after_extension(size: u64, extension: Extension, byte: u8) -> Result<Chunk, Fault> {
    let Extension { bytes, is_named } = extension;
    match byte {
        b'\r' if is_named => return Ok(Chunk::SizeLf { size }),
        b';' | b' ' | b'\t' => {}
        _ if is_named && !byte.is_ascii_control() => {}
        _ => return Err(Fault::ChunkInvalid),
    }
    if bytes == EXTENSION_BYTES_MAX {
        return Err(Fault::ChunkExtensionTooLong);
    }
    let extension = Extension {
        bytes: bytes + 1,
        is_named: is_named || byte == b';',
    };
    Ok(Chunk::Extension { size, extension })
}

fn after_trailer(bytes: usize, place: Place, byte: u8) -> Result<Chunk, Fault> {
    let place = match (place, byte) {
        (Place::Start, b'\r') => Place::LastLf,
        (Place::Line, b'\r') => Place::Lf,
        (Place::Lf, b'\n') => Place::Start,
        (Place::LastLf, b'\n') => return Ok(Chunk::End),
        // Nobody reads trailers, so their form is not judged beyond their lines.
        (Place::Start | Place::Line, _) if byte == b'\t' || !byte.is_ascii_control() => Place::Line,
        _ => return Err(Fault::TrailerInvalid),
    };
    Ok(Chunk::Trailer { bytes, place })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::request::Framing;
    use crate::request::tests::{Seen, check, rules};

    const HEAD: &str = "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n";

    /// What every split of `body` comes to with room for 8 bytes of it.
    #[track_caller]
    fn chunked(body: &str, expected: Result<&str, Fault>) {
        let mut rules = rules(Framing::Http);
        rules.max_request_bytes = 8;
        let expected = match expected {
            Ok(body) => Seen::complete(HEAD, body),
            Err(fault) => Seen::Fault(fault),
        };
        check(&rules, format!("{HEAD}{body}"), &expected);
    }

    #[test]
    fn chunks_are_joined() {
        chunked("0\r\n\r\n", Ok(""));
        chunked("5\r\nhello\r\n0\r\n\r\n", Ok("hello"));
        chunked("1\r\na\r\n2\r\n\r\n\r\n000\r\n\r\nrest", Ok("a\r\n"));
        chunked("0000000000000003\r\nabc\r\n0\r\n\r\n", Ok("abc"));
        chunked("8\r\n12345678\r\n0\r\n\r\n", Ok("12345678"));
    }

    #[test]
    fn sizes_are_hexadecimal() {
        let fault = Err(Fault::ChunkInvalid);
        chunked("\r\n", fault);
        chunked("g\r\n", fault);
        chunked("-1\r\n", fault);
        chunked("0x5\r\n", fault);
        chunked("00000000000000003\r\n", fault);
        let mut rules = rules(Framing::Http);
        rules.max_request_bytes = 0xab;
        let body = "x".repeat(0xab);
        let stream = format!("{HEAD}aB\r\n{body}\r\n0\r\n\r\n");
        check(&rules, &stream, &Seen::complete(HEAD, &body));
    }

    #[test]
    fn extensions_are_skipped_and_bounded() {
        chunked("1;a=b;c=\"d e\"\r\nx\r\n0;e\r\n\r\n", Ok("x"));
        chunked("1 \t; a\t=\u{e9}\r\nx\r\n0\r\n\r\n", Ok("x"));
        for body in ["1 \r\n", "1 x\r\n", "1;a\n", "1;a\0\r\n", "1;a\rb\r\n"] {
            chunked(body, Err(Fault::ChunkInvalid));
        }
        let longest = "a".repeat(usize::from(EXTENSION_BYTES_MAX) - 1);
        chunked(&format!("1;{longest}\r\nx\r\n0\r\n\r\n"), Ok("x"));
        let fault = Err(Fault::ChunkExtensionTooLong);
        chunked(&format!("1;{longest}a\r\nx\r\n0\r\n\r\n"), fault);
        chunked(&format!("1{:257}", ""), fault);
    }

    #[test]
    fn every_line_ends_with_cr_lf() {
        for body in [
            "1\nx\r\n",
            "1\r\r\n",
            "1\rx",
            "1\r\nx\n",
            "1\r\nxy\r\n",
            "1\r\nx\r\r",
        ] {
            chunked(body, Err(Fault::ChunkInvalid));
        }
        for body in [
            "0\r\n\n",
            "0\r\n\rx",
            "0\r\na: b\n",
            "0\r\na: b\rx",
            "0\r\n\0",
        ] {
            chunked(body, Err(Fault::TrailerInvalid));
        }
    }

    #[test]
    fn a_body_over_the_limit_is_too_large_at_the_size_that_says_so() {
        let fault = Err(Fault::RequestTooLarge);
        chunked("9\r\n", fault);
        chunked("4\r\nabcd\r\n5\r\n", fault);
        chunked("ffffffffffffffff\r\n", fault);
        chunked("1\r\nx\r\nffffffffffffffff\r\n", fault);
    }

    #[test]
    fn trailers_are_dropped_and_bounded() {
        chunked("1\r\nx\r\n0\r\nA: b\r\nC:\td\r\n\r\n", Ok("x"));
        let mut rules = rules(Framing::Http);
        rules.max_head_bytes = HEAD.len();
        let longest = "t".repeat(HEAD.len() - 4);
        let stream = format!("{HEAD}0\r\n{longest}\r\n\r\n");
        check(&rules, &stream, &Seen::complete(HEAD, ""));
        let stream = format!("{HEAD}0\r\nt{longest}\r\n\r\n");
        check(&rules, &stream, &Seen::Fault(Fault::TrailerTooLarge));
    }

    #[test]
    fn a_body_cut_short_is_told_apart_from_a_wrong_one() {
        for body in [
            "",
            "1",
            "1;",
            "1\r",
            "1\r\n",
            "1\r\nx",
            "1\r\nx\r\n",
            "0\r\n",
            "0\r\na",
            "0\r\n\r",
        ] {
            chunked(body, Err(Fault::Truncated));
        }
    }
}
