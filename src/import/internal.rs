//! The services that inetd and xinetd answer themselves, RFC 862 to 868.

use crate::import::draft::Draft;

/// What xinetd writes: `22 FEB 1982 17:37:43 PST`.
const XINETD_DAYTIME: &str = "{{ time | strftime(\"%d %b %Y %H:%M:%S UTC\") | upper }}\r\n";

/// What inetd writes: `Mon Feb 22 17:37:43 1982`.
const INETD_DAYTIME: &str = "{{ time | strftime(\"%a %b %e %H:%M:%S %Y\") }}\r\n";

/// Whose internal service it is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Of {
    Inetd,
    Xinetd,
}

/// Carries an internal service over, or says why not. `said` is what makes it one.
pub(super) fn carry(draft: &mut Draft, name: &str, said: &str, of: Of) {
    match name {
        "daytime" => {
            draft.set("read", "nothing", said);
            let (text, from) = match of {
                Of::Inetd => (INETD_DAYTIME, "as inetd writes it"),
                Of::Xinetd => (XINETD_DAYTIME, "as xinetd writes it"),
            };
            draft.set("reply.text", text, from);
            draft.remark("the local time", "replyd's time is UTC");
        }
        "echo" => {
            draft.set("read", "eof", said);
            draft.set("reply.echo", true, "RFC 862");
            let why = "replyd answers once, when the client has ended its side, and at most \
                       `max_request_bytes`; RFC 862 answers while the client still sends";
            draft.remark("echo", why);
        }
        "discard" => draft.refuse(said, "discard reads without an end, and never replies"),
        "chargen" => draft.refuse(said, "chargen replies without an end"),
        "time" => draft.refuse(said, "a time of RFC 868 is four bytes that are no text"),
        "servers" | "services" => draft.refuse(said, "replyd tells about itself at /metrics"),
        _ => draft.refuse(said, "replyd has no such internal service"),
    }
}
