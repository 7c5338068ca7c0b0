//! What must hold of every input, one function a target; each panics when it doesn't.
//!
//! `cargo test` runs them over the corpus, and libFuzzer over whatever it makes of that.
//!
//! ```text
//! framing.rs    where a request ends, whatever the framing and however its bytes were cut
//! head.rs       an HTTP request: what must be refused is, and what is taken says what it said
//! exchange.rs   events of a connection in any order
//! command.rs    what a command says as a reply
//! reply.rs      what the configuration says as an HTTP reply
//! template.rs   any text as a template, any request in it
//! config.rs     any text as a server.toml
//! import.rs     any text as xinetd's, inetd's or systemd's
//! metrics.rs    any name on the metrics page
//! stream.rs     (a stream of bytes, cut and told to a reader)
//! response.rs   (an HTTP reply as a strict client reads it)
//! service.rs    (services with every kind of reply)
//! ```
//!
//! The log is the program's, not the library's: its target is `../log.rs`.

mod command;
mod config;
mod exchange;
mod framing;
mod head;
mod import;
mod metrics;
mod reply;
mod response;
mod service;
mod stream;
mod template;

/// What a target does with an input.
pub(crate) type Check = fn(&[u8]);

/// Each target by its name, which is that of the folder of its corpus.
pub(crate) const TARGETS: [(&str, Check); 9] = [
    ("command", command::check),
    ("config", config::check),
    ("exchange", exchange::check),
    ("framing", framing::check),
    ("head", head::check),
    ("import", import::check),
    ("metrics", metrics::check),
    ("reply", reply::check),
    ("template", template::check),
];

/// The byte between two texts of one input. No text that is UTF-8 has it.
const BETWEEN: u8 = 0xff;

/// The texts of an input that has several; those that are not there are empty. What is not UTF-8
/// becomes U+FFFD.
fn texts<const COUNT: usize>(bytes: &[u8]) -> [String; COUNT] {
    let mut parts = bytes.splitn(COUNT, |byte| *byte == BETWEEN);
    [(); COUNT].map(|()| String::from_utf8_lossy(parts.next().unwrap_or_default()).into_owned())
}
