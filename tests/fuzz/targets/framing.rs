//! Where a request ends: every framing, any limits, any bytes.
//!
//! However they were cut, the same comes of them; for framings that are said in a sentence, what
//! that sentence says.

use arbitrary::{Result, Unstructured};
use replyd::request::{Fault, Framing, Progress, Reader, Rules};

use super::stream::{Read, Seen, read, read_in_any_pieces};

pub(super) fn check(bytes: &[u8]) {
    let mut input = Unstructured::new(bytes);
    let (Ok(rules), Ok(places)) = (rules(&mut input), input.arbitrary::<[u16; 3]>()) else {
        return;
    };
    let stream = input.take_rest();
    let whole = read_in_any_pieces(&rules, stream, &places);
    if let Some(expected) = by_the_book(&rules, stream) {
        assert_eq!(whole.seen, expected, "{rules:?}");
    }
    after_the_end(&rules, stream, &whole);
}

fn rules(input: &mut Unstructured<'_>) -> Result<Rules> {
    let kind: u8 = input.arbitrary()?;
    let size: u8 = input.arbitrary()?;
    let max_request_bytes: u8 = input.arbitrary()?;
    let max_head_bytes: u8 = input.arbitrary()?;
    let delimiters = ["\0", "\n", "\r\n", "\r\n\r\n", "aab", "\n\n\n", "abcabd"];
    let delimiter = delimiters[usize::from(size) % delimiters.len()];
    Ok(Rules {
        framing: match kind % 8 {
            0 => Framing::Nothing,
            1 => Framing::Line,
            2 => Framing::Delimiter(delimiter.as_bytes().into()),
            3 => Framing::Bytes(size.into()),
            4 => Framing::Eof,
            _ => Framing::Http,
        },
        max_request_bytes: limit(max_request_bytes),
        max_head_bytes: limit(max_head_bytes),
        keep_head: kind & 0x10 == 0,
        keep_body: kind & 0x20 == 0,
    })
}

/// A limit that a short stream meets, or none that it does.
fn limit(byte: u8) -> usize {
    if byte < 0x80 { byte.into() } else { 64 * 1024 }
}

/// What a stream that ends comes to, said without a state. `None`: HTTP, which takes more words.
fn by_the_book(rules: &Rules, stream: &[u8]) -> Option<Seen> {
    let (length, received) = match &rules.framing {
        Framing::Http => return None,
        Framing::Nothing => (0, 0),
        Framing::Bytes(count) if stream.len() >= *count => {
            return Some(complete(stream, *count, *count));
        }
        Framing::Bytes(_) | Framing::Line | Framing::Delimiter(_) if stream.is_empty() => {
            return Some(Seen::Nothing);
        }
        Framing::Bytes(_) => return Some(Seen::Fault(Fault::Truncated)),
        Framing::Eof => (stream.len(), stream.len()),
        Framing::Line => {
            let line = stream.split_inclusive(|byte| *byte == b'\n').next()?;
            let text = line.strip_suffix(b"\n").unwrap_or(line);
            (text.strip_suffix(b"\r").unwrap_or(text).len(), line.len())
        }
        Framing::Delimiter(end) => {
            let at = stream.windows(end.len()).position(|part| part == &**end);
            at.map_or((stream.len(), stream.len()), |at| (at, at + end.len()))
        }
    };
    Some(if length <= rules.max_request_bytes {
        complete(stream, length, received)
    } else {
        Seen::Fault(Fault::RequestTooLarge)
    })
}

fn complete(stream: &[u8], length: usize, received: usize) -> Seen {
    Seen::Complete {
        head: Vec::new(),
        body: stream[..length].to_vec(),
        received: stream[..received].to_vec(),
    }
}

/// What comes after the byte that decides is not looked at.
fn after_the_end(rules: &Rules, stream: &[u8], whole: &Read) {
    let decided = Reader::new().advance(rules, &mut stream.to_vec());
    if !matches!(decided, Progress::More { .. }) {
        let longer = [stream, b"\r\n\r\nGET / HTTP/1.1\r\n\0\xff"].concat();
        assert_eq!(&read(rules, [&longer[..]]), whole, "{rules:?}");
    }
}
