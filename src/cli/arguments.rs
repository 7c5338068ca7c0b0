//! The arguments, as clap reads them.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;
use replyd::config::address::Address;

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

#[derive(Clone, Copy, Debug, Default, ValueEnum)]
pub(super) enum Format {
    #[default]
    Human,
    Json,
}
