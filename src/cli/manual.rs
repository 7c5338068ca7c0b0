//! `replyd manual`: the manual pages, from the arguments and from server.toml.

use std::io::{self, Write};

use clap::{Command, CommandFactory as _, ValueEnum};
use clap_mangen::Man;
use clap_mangen::roff::{Roff, bold, roman};
use replyd::config::load;

use crate::cli::arguments::Arguments;
use crate::cli::source::PATHS;
use crate::cli::{ABANDONED, CONFIG, DRAINED, FAILED, USAGE, print};

/// The pages there are.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(super) enum Page {
    /// replyd(1)
    #[value(name = "replyd")]
    Program,

    /// server.toml(5)
    #[value(name = "server.toml")]
    Config,
}

/// A page changes when its program does, not with the calendar. Not empty: roff 1.1 forgets the quotes.
const NO_DATE: &str = " ";

const DESCRIPTION: &str = "A server for every protocol that asks once and is answered once: health \
    checks, monitoring agents, whois, finger, a one-shot HTTP reply. What it answers, where, to whom \
    and within which bounds is in its configuration, server.toml(5). It runs in the foreground and logs \
    to the standard error output.";

const SIGNALS: [(&str, &str); 3] = [
    (
        "SIGTERM, SIGINT",
        "Drain: whoever is on the way is let in, complete requests are answered, within the grace \
         period. A second one ends at once (143, 130).",
    ),
    (
        "SIGHUP",
        "Read the configuration again, all of it or nothing. It never ends the process.",
    ),
    (
        "SIGPIPE",
        "Ignored: a peer or a log that is gone ends nothing but itself.",
    ),
];

const EXIT_CODES: [(u8, &str); 5] = [
    (DRAINED, "Done; of a server: drained."),
    (
        FAILED,
        "Failed: an address in use, or worse. The log says what.",
    ),
    (
        ABANDONED,
        "The grace period was over with connections abandoned.",
    ),
    (USAGE, "Wrong arguments."),
    (
        CONFIG,
        "Wrong configuration, or one that this machine can't hold. Restarting won't help.",
    ),
];

/// Prints a manual page, for man(1) to read.
pub(super) fn manual(page: Page) -> u8 {
    print(&match page {
        Page::Program => program(),
        Page::Config => config(),
    })
}

fn program() -> String {
    let mut command = Arguments::command().disable_help_subcommand(true);
    command.build();
    let mut page = rendered(&Man::new(command.clone()).date(NO_DATE), |man, page| {
        man.render_title(page)?;
        man.render_name_section(page)?;
        man.render_synopsis_section(page)
    });
    let mut description = Roff::new();
    description.control("SH", ["DESCRIPTION"]);
    description.text([roman(DESCRIPTION)]);
    page += &description.render();
    page += &rendered(&Man::new(command.clone()), Man::render_options_section);
    page += ".SH SUBCOMMANDS\n";
    for subcommand in command.get_subcommands().filter(|it| !it.is_hide_set()) {
        page += &subcommand_section(subcommand);
    }
    page += &list("SIGNALS", &SIGNALS);
    page += &list(
        "EXIT STATUS",
        &EXIT_CODES.map(|(code, text)| (code.to_string(), text)),
    );
    page += &list(
        "FILES",
        &PATHS.map(|path| (path, "Without --config, the first of these that exists.")),
    );
    let mut end = Roff::new();
    end.control("SH", ["SEE ALSO"]);
    end.text([
        bold("server.toml"),
        roman("(5), "),
        bold("systemctl"),
        roman("(1)"),
    ]);
    page + &end.render()
}

/// How it is called, what it does, and its own options.
fn subcommand_section(subcommand: &Command) -> String {
    let mut subcommand = subcommand.clone().mut_arg("help", |help| help.hide(true));
    let usage = subcommand.render_usage().to_string();
    let mut head = Roff::new();
    head.control("SS", [usage.trim_start_matches("Usage: ")]);
    let about = subcommand
        .get_long_about()
        .or_else(|| subcommand.get_about());
    if let Some(about) = about {
        head.text([roman(about.to_string())]);
    }
    let options = rendered(&Man::new(subcommand), Man::render_options_section);
    // Below its own heading it needs no other.
    head.render() + &options.replace(".SH OPTIONS\n", "")
}

/// The shipped server.toml, whose comments say what every key is for.
fn config() -> String {
    let mut page = Roff::new();
    let version = format!("replyd {}", env!("CARGO_PKG_VERSION"));
    page.control("TH", ["server.toml", "5", NO_DATE, version.as_str()]);
    page.control("SH", ["NAME"]);
    page.text([roman("server.toml - the configuration of replyd")]);
    page.control("SH", ["SYNOPSIS"]);
    page.text([bold(PATHS[1])]);
    page.control("SH", ["DESCRIPTION"]);
    page.text([roman(
        "TOML, with every key at its default below. A key that is left out has that default; one \
         that does not exist is an error.",
    )]);
    page.control("SH", ["EVERY KEY"]);
    page.control("nf", []);
    for line in load::SHIPPED.lines() {
        page.text([roman(line)]);
    }
    page.control("fi", []);
    page.control("SH", ["SEE ALSO"]);
    page.text([bold("replyd"), roman("(1)")]);
    page.render()
}

/// A section of terms, each with what it means.
fn list(heading: &str, terms: &[(impl AsRef<str>, &str)]) -> String {
    let mut section = Roff::new();
    section.control("SH", [heading]);
    for (term, meaning) in terms {
        section.control("TP", []);
        section.text([bold(term.as_ref())]);
        section.text([roman(*meaning)]);
    }
    section.render()
}

fn rendered(man: &Man, render: impl FnOnce(&Man, &mut dyn Write) -> io::Result<()>) -> String {
    let mut page = Vec::new();
    render(man, &mut page).expect("invariant: a Vec takes everything");
    String::from_utf8(page).expect("invariant: the arguments are text")
}
