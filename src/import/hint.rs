//! How a service that runs a program reads, guessed by its name, its program or its port.
//!
//! No source says it: there, reading is the program's business.

/// How to read, and why that is likely.
#[derive(Clone, Copy, Debug)]
pub(super) enum Hint {
    /// A value of `read`.
    Read(&'static str, &'static str),
    /// No single request has a single reply.
    Dialogue,
}

const HTTP: Hint = Hint::Read(
    "http",
    "a guess: it answers HTTP health checks, and this reads them, too",
);
const AGENT: Hint = Hint::Read("nothing", "a guess: an agent talks as soon as it is asked");
const LINE: Hint = Hint::Read("line", "a guess: this protocol's request is a line");
const UNKNOWN: Hint = Hint::Read(
    "nothing",
    "a guess: \"line\", \"eof\" or \"http\" if the program reads what the client sends",
);

/// Names and ports, in this order. A name is a service's, a program's, or a word in one of these.
const TABLE: [(Hint, &[&str], &[u16]); 4] = [
    (
        HTTP,
        &[
            "clustercheck",
            "mysqlchk",
            "mariadbcheck",
            "galera",
            "pgsqlchk",
            "http",
            "tang",
        ],
        &[80, 8080, 9200],
    ),
    (
        AGENT,
        &[
            "check_mk",
            "check_mk_agent",
            "check-mk-agent",
            "agent-check",
        ],
        &[6556],
    ),
    (
        LINE,
        &["finger", "whois", "gopher", "gophernicus", "ident"],
        &[43, 70, 79, 113],
    ),
    (
        Hint::Dialogue,
        &[
            "ftp", "vsftp", "proftp", "ssh", "telnet", "rsync", "imap", "pop3", "smtp", "nntp",
            "amanda", "csync2", "sane", "dict", "dico", "git", "cvs", "login", "rexec", "nrpe",
            "nbd",
        ],
        &[
            21, 22, 23, 25, 110, 119, 143, 512, 513, 514, 873, 2628, 5666, 6566, 9418, 10080, 30865,
        ],
    ),
];

/// Finds the hint for a service by its names, or else by its port.
pub(super) fn find(names: &[&str], port: Option<u16>) -> Hint {
    let by_name = TABLE.iter().find(|(_, known, _)| {
        let mut known = known.iter();
        known.any(|known| names.iter().any(|name| is_called(name, known)))
    });
    let by_port = || port.and_then(|port| TABLE.iter().find(|(_, _, ports)| ports.contains(&port)));
    by_name.or_else(by_port).map_or(UNKNOWN, |(hint, ..)| *hint)
}

/// `in.fingerd` is called finger, and `digital` isn't called git.
fn is_called(name: &str, known: &str) -> bool {
    let name = name.to_lowercase();
    let mut words = name.split(|c: char| !c.is_alphanumeric());
    let is_one = |word: &str| word == known || word.strip_suffix('d') == Some(known);
    is_one(&name) || words.any(is_one)
}
