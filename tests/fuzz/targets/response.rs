//! An HTTP reply as a strict client reads it.
//!
//! Source: RFC 9112 sections 2 and 4 to 6.

/// A reply, taken apart.
#[derive(Debug)]
pub(super) struct Response<'a> {
    pub(super) status: u16,

    /// In their order.
    pub(super) headers: Vec<(&'a str, &'a str)>,
    pub(super) body: &'a [u8],
}

impl<'a> Response<'a> {
    /// Reads a whole reply; to HEAD where `is_head` says so.
    pub(super) fn read(bytes: &'a [u8], is_head: bool) -> Self {
        let shown = bytes[..bytes.len().min(2000)].escape_ascii();
        let end = bytes.windows(4).position(|part| part == b"\r\n\r\n");
        let end = end.unwrap_or_else(|| panic!("a head without an end: {shown}"));
        let head = std::str::from_utf8(&bytes[..end]).expect("a head of text");
        let mut lines = head.split("\r\n");
        let status_line = lines.next().expect("a first line");
        let status = status_line
            .strip_prefix("HTTP/1.1 ")
            .and_then(|rest| rest.get(..3));
        let status = status.unwrap_or_else(|| panic!("no status: {shown}"));
        let headers = lines.map(|line| line.split_once(": ").expect("a header"));
        let response = Self {
            status: status.parse().expect("a number"),
            headers: headers.collect(),
            body: &bytes[end + 4..],
        };
        assert!(
            !head.replace("\r\n", "").contains(['\r', '\n', '\0']),
            "a header that ends itself: {shown}"
        );
        response.assert_sound(is_head);
        response
    }

    /// The values of a header.
    pub(super) fn all(&self, name: &str) -> Vec<&'a str> {
        let found = self
            .headers
            .iter()
            .filter(|header| header.0.eq_ignore_ascii_case(name));
        found.map(|header| header.1).collect()
    }

    /// What every reply says, and says once.
    fn assert_sound(&self, is_head: bool) {
        assert!((200..=599).contains(&self.status), "{self:?}");
        assert_eq!(self.all("Connection"), ["close"], "{self:?}");
        assert_eq!(self.all("Transfer-Encoding").len(), 0, "{self:?}");
        assert!(
            matches!(self.all("Date")[..], [date] if date.len() == 29),
            "{self:?}"
        );
        let has_content = !matches!(self.status, 204 | 304);
        let lengths = self.all("Content-Length");
        assert_eq!(lengths.len(), usize::from(has_content), "{self:?}");
        assert_eq!(self.all("Content-Type").len(), lengths.len(), "{self:?}");
        if is_head || !has_content {
            assert_eq!(self.body, b"", "{self:?}");
        } else {
            assert_eq!(lengths, [self.body.len().to_string()], "{self:?}");
        }
    }
}
