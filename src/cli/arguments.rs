//! The arguments, as clap reads them.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;
use replyd::config::address::Address;
use replyd::peer::Peer;

use crate::cli::manual::Page;

/// One connection, one exchange: accept, read a request, reply, close.
#[derive(Debug, Parser)]
#[command(version, about, args_conflicts_with_subcommands = true)]
pub(super) struct Arguments {
    /// The configuration. Else ./server.toml, then /etc/replyd/server.toml, then a built-in one.
    #[arg(long, value_name = "FILE")]
    pub(super) config: Option<PathBuf>,

    #[command(subcommand)]
    pub(super) command: Option<Command>,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Tells every fault of a configuration at once; 78 if there is one.
    Check(Check),

    /// Has the running replyd read its configuration again, and tells what has changed; 78 if it
    /// was refused. Takes `reload = true` in [admin].
    Reload {
        /// The configuration that names the admin listener; else the one that replyd would run with.
        file: Option<PathBuf>,

        /// The admin listener of the running replyd: 127.0.0.1:7150, or unix:/run/x.sock.
        #[arg(long, value_name = "ADDRESS", conflicts_with = "file")]
        admin: Option<Address>,
    },

    /// Has one exchange with a service as the server would, and tells what happened; 0 if it replied.
    Try(Try),

    /// Shows a configuration with every key, and where each is from.
    Show {
        /// Else the one that replyd would run with.
        file: Option<PathBuf>,
    },

    /// Prints a JSON Schema of configurations, for editors.
    Schema,

    /// Prints what a shell needs to complete these arguments.
    Completions {
        /// The shell.
        shell: Shell,
    },

    /// Prints a manual page: `replyd manual | man -l -`.
    #[command(hide = true)]
    Manual {
        /// The page.
        #[arg(default_value = "replyd")]
        page: Page,
    },

    /// Turns files of xinetd, inetd and systemd sockets into a server.toml, on stdout.
    Import {
        /// Files and folders: xinetd's, inetd's, .socket units with their @.service beside them.
        /// Else /etc/xinetd.conf, /etc/xinetd.d and /etc/inetd.conf.
        #[arg(value_name = "PATH")]
        paths: Vec<PathBuf>,
    },
}

#[derive(Debug, Args)]
pub(super) struct Check {
    /// Else the one that replyd would run with.
    pub(super) file: Option<PathBuf>,

    /// 78 for a warning too.
    #[arg(long)]
    pub(super) strict: bool,

    /// Does not look at this machine: the same everywhere.
    #[arg(long)]
    pub(super) offline: bool,

    /// For people on stderr, or for programs on stdout.
    #[arg(long, value_enum, default_value_t)]
    pub(super) format: Format,
}

#[derive(Debug, Args)]
pub(super) struct Try {
    /// The service's name.
    pub(super) service: String,

    /// What is sent: what the file holds; of `-`, what comes from stdin. Else nothing is.
    #[arg(long, value_name = "FILE")]
    pub(super) request: Option<PathBuf>,

    /// Who asks: 192.0.2.7, [2001:db8::7]:4711 or unix. Else this machine.
    #[arg(long, value_name = "ADDRESS", value_parser = peer)]
    pub(super) peer: Option<Peer>,

    /// The configuration; else the one that replyd would run with.
    #[arg(long, value_name = "FILE")]
    pub(super) config: Option<PathBuf>,
}

fn peer(text: &str) -> Result<Peer, &'static str> {
    let whole = text.parse::<SocketAddr>().ok();
    let bare = || text.parse::<IpAddr>().ok().map(|ip| SocketAddr::new(ip, 0));
    match whole.or_else(bare) {
        Some(addr) => Ok(Peer::from(addr)),
        None if text == "unix" => Ok(Peer::Unix),
        None => Err("write an IP address, an address with a port, or `unix`"),
    }
}

#[derive(Clone, Copy, Debug, Default, ValueEnum)]
pub(super) enum Format {
    #[default]
    Human,
    Json,
}
