//! What can be wrong with a request.

use std::fmt;

/// Why a request is refused: one variant per reason.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Fault {
    /// The extensions of one chunk are longer than any honest client's.
    ChunkExtensionTooLong,

    /// A chunk's size is not hexadecimal or too long, or a CR LF is missing.
    ChunkInvalid,

    /// CONNECT asks for a tunnel, and this is no proxy.
    ConnectRefused,

    /// `Content-Length` is not one decimal number that fits in 64 bits.
    ContentLengthInvalid,

    /// More than one `Content-Length`, even if equal.
    ContentLengthRepeated,

    /// `Content-Length` beside `Transfer-Encoding`: two ends, and nobody knows which.
    ContentLengthWithTransferEncoding,

    /// `Expect` asks for something other than `100-continue`.
    ExpectUnknown,

    /// The head does not end within `max_head_bytes`.
    HeadTooLarge,

    /// A header line is malformed.
    HeaderInvalid,

    /// More headers than are looked at.
    HeadersTooMany,

    /// `Host` has a byte that no host and port can have.
    HostInvalid,

    /// HTTP/1.1 without `Host`.
    HostMissing,

    /// More than one `Host`.
    HostRepeated,

    /// The request line is malformed, or the first byte cannot begin one.
    RequestLineInvalid,

    /// The request, for HTTP its body, is longer than `max_request_bytes`.
    RequestTooLarge,

    /// The target is none of `/path`, `scheme://host/path` and `*`.
    TargetInvalid,

    /// A trailer line of a chunked body is malformed.
    TrailerInvalid,

    /// The trailer section of a chunked body does not end within `max_head_bytes`.
    TrailerTooLarge,

    /// `Transfer-Encoding` in HTTP/1.0, which does not know it.
    TransferEncodingInHttp10,

    /// More than one `Transfer-Encoding`.
    TransferEncodingRepeated,

    /// `Transfer-Encoding` is not exactly `chunked`.
    TransferEncodingUnknown,

    /// The peer ended its side in the middle of the request.
    Truncated,

    /// A version of HTTP that is neither 1.0 nor 1.1.
    VersionUnsupported,
}

impl Fault {
    /// Returns the HTTP status that tells a client about it.
    ///
    /// The reply to a 405 must carry `Allow` (RFC 9110 section 15.5.6).
    ///
    /// Source: RFC 9110 section 15; RFC 6585 section 5 for 431.
    #[must_use]
    pub fn status(self) -> u16 {
        match self {
            Self::ChunkExtensionTooLong
            | Self::ChunkInvalid
            | Self::ContentLengthInvalid
            | Self::ContentLengthRepeated
            | Self::ContentLengthWithTransferEncoding
            | Self::HeaderInvalid
            | Self::HostInvalid
            | Self::HostMissing
            | Self::HostRepeated
            | Self::RequestLineInvalid
            | Self::TargetInvalid
            | Self::TrailerInvalid
            | Self::TransferEncodingInHttp10
            | Self::TransferEncodingRepeated
            | Self::Truncated => 400,
            Self::ConnectRefused => 405,
            Self::RequestTooLarge => 413,
            Self::ExpectUnknown => 417,
            Self::HeadTooLarge | Self::HeadersTooMany | Self::TrailerTooLarge => 431,
            Self::TransferEncodingUnknown => 501,
            Self::VersionUnsupported => 505,
        }
    }

    /// Whether a limit on size or number was exceeded: outcome `too_large`, else `invalid`.
    #[must_use]
    pub fn is_too_large(self) -> bool {
        matches!(self.status(), 413 | 431)
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ChunkExtensionTooLong => "chunk extension too long",
            Self::ChunkInvalid => "malformed chunk",
            Self::ConnectRefused => "method CONNECT not allowed",
            Self::ContentLengthInvalid => "malformed Content-Length",
            Self::ContentLengthRepeated => "more than one Content-Length",
            Self::ContentLengthWithTransferEncoding => "both Content-Length and Transfer-Encoding",
            Self::ExpectUnknown => "unknown expectation",
            Self::HeadTooLarge => "request head too large",
            Self::HeaderInvalid => "malformed header",
            Self::HeadersTooMany => "too many headers",
            Self::HostInvalid => "malformed Host",
            Self::HostMissing => "no Host",
            Self::HostRepeated => "more than one Host",
            Self::RequestLineInvalid => "malformed request line",
            Self::RequestTooLarge => "request too large",
            Self::TargetInvalid => "malformed request target",
            Self::TrailerInvalid => "malformed trailer",
            Self::TrailerTooLarge => "trailer section too large",
            Self::TransferEncodingInHttp10 => "Transfer-Encoding in HTTP/1.0",
            Self::TransferEncodingRepeated => "more than one Transfer-Encoding",
            Self::TransferEncodingUnknown => "unknown transfer coding",
            Self::Truncated => "request cut short",
            Self::VersionUnsupported => "unsupported HTTP version",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fault_has_a_status_and_an_outcome() {
        const INVALID: bool = false;
        const TOO_LARGE: bool = true;
        for (fault, status, is_too_large) in [
            (Fault::ChunkExtensionTooLong, 400, INVALID),
            (Fault::ChunkInvalid, 400, INVALID),
            (Fault::ConnectRefused, 405, INVALID),
            (Fault::ContentLengthInvalid, 400, INVALID),
            (Fault::ContentLengthRepeated, 400, INVALID),
            (Fault::ContentLengthWithTransferEncoding, 400, INVALID),
            (Fault::ExpectUnknown, 417, INVALID),
            (Fault::HeadTooLarge, 431, TOO_LARGE),
            (Fault::HeaderInvalid, 400, INVALID),
            (Fault::HeadersTooMany, 431, TOO_LARGE),
            (Fault::HostInvalid, 400, INVALID),
            (Fault::HostMissing, 400, INVALID),
            (Fault::HostRepeated, 400, INVALID),
            (Fault::RequestLineInvalid, 400, INVALID),
            (Fault::RequestTooLarge, 413, TOO_LARGE),
            (Fault::TargetInvalid, 400, INVALID),
            (Fault::TrailerInvalid, 400, INVALID),
            (Fault::TrailerTooLarge, 431, TOO_LARGE),
            (Fault::TransferEncodingInHttp10, 400, INVALID),
            (Fault::TransferEncodingRepeated, 400, INVALID),
            (Fault::TransferEncodingUnknown, 501, INVALID),
            (Fault::Truncated, 400, INVALID),
            (Fault::VersionUnsupported, 505, INVALID),
        ] {
            assert_eq!(fault.status(), status, "{fault}");
            assert_eq!(fault.is_too_large(), is_too_large, "{fault}");
        }
    }
}
