//! Any text as what xinetd, inetd or systemd's sockets were told: what comes out is a good
//! `server.toml`, and nothing that was said is lost.

use std::path::PathBuf;
use std::sync::LazyLock;

use replyd::config::load;
use replyd::config::written::is_hidden;
use replyd::import::import;
use replyd::server;

use super::texts;

/// Where sources are written: they are read by their paths.
static FOLDER: LazyLock<tempfile::TempDir> =
    LazyLock::new(|| tempfile::tempdir().expect("a folder"));

/// Ports by name, as `/etc/services` has them.
const SERVICES: &str = "daytime 13/tcp\nfinger 79/tcp # fingerd\nntalk 518/udp\nwww 80/tcp http\n";

/// Either a file of xinetd's or inetd's, or a socket unit and its service.
pub(super) fn check(bytes: &[u8]) {
    let [first, second] = texts(bytes);
    // It would lead to files of the machine that this runs on.
    if first.contains("include") {
        return;
    }
    let (sources, said) = if first.contains("[Socket]") {
        let socket = write("source.socket", &first);
        write("source@.service", &second);
        (socket, settings(&first))
    } else if is_xinetd(&first) {
        (write("source.conf", &first), settings(&first))
    } else {
        (write("source.conf", &first), words(&first))
    };
    let Ok(imported) = import(&[sources], SERVICES) else {
        return;
    };
    for text in [&imported.toml, &imported.summary] {
        assert!(!text.contains(|c| is_hidden(c) && c != '\n'), "{text:?}");
    }
    let loaded = load::parse(&imported.toml, "imported");
    let loaded = loaded.unwrap_or_else(|faults| panic!("{}", faults.render(false)));
    let checked = server::check(&loaded);
    checked.unwrap_or_else(|faults| panic!("{}", faults.render(false)));
    let told = bare(&imported.toml);
    for said in said {
        assert!(
            told.contains(&bare(&said)),
            "{said:?} is lost in\n{}",
            imported.toml
        );
    }
}

fn write(name: &str, text: &str) -> PathBuf {
    let path = FOLDER.path().join(name);
    std::fs::write(&path, text).expect("written");
    path
}

/// A text without what shows only where it was broken into lines.
fn bare(text: &str) -> String {
    let shown = text.chars().filter(|c| !c.is_whitespace() && *c != '#');
    shown.collect()
}

fn is_comment(line: &&str) -> bool {
    line.trim_start().starts_with(['#', ';'])
}

/// Whether a line begins a block of xinetd's, which decides what the file is.
fn is_xinetd(text: &str) -> bool {
    text.lines().any(|line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        matches!(
            words[..],
            ["service", _] | ["service", _, "{"] | ["defaults"] | ["defaults", "{"]
        )
    })
}

/// Of xinetd's lines and a unit's those that set something, as far as they are shown as they are.
fn settings(text: &str) -> Vec<String> {
    let lines = text.lines().filter(|line| !is_comment(line));
    let lines = lines.filter(|line| line.contains('=') && is_plain(line));
    lines.map(str::to_owned).collect()
}

/// Of inetd's lines the words.
fn words(text: &str) -> Vec<String> {
    let lines = text.lines().filter(|line| !is_comment(line));
    let words = lines.flat_map(str::split_whitespace);
    // An address for the lines below is none of a service.
    let words = words.filter(|word| is_plain(word) && !word.ends_with(':'));
    words.map(str::to_owned).collect()
}

/// Nothing in it has to be escaped, or joins it with another line.
fn is_plain(text: &str) -> bool {
    let is_plain = |byte| matches!(byte, b'\t' | b' '..=b'~') && byte != b'\\';
    text.bytes().all(is_plain)
}
