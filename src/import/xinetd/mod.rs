//! `service NAME { … }`: `/etc/xinetd.conf`, `/etc/xinetd.d`.

pub(super) mod syntax;

/// What a service that runs a program is carried over as.
mod command;
/// Where a service listens, and its `flags`.
mod listen;

use crate::import::access;
use crate::import::attribute::{Attribute, Attributes, Operator};
use crate::import::draft::{self, Draft};
use crate::import::internal::{self, Of};
use crate::import::ports::Ports;
use crate::import::xinetd::listen::Flags;
use crate::import::xinetd::syntax::Block;

/// Why an attribute is not carried over.
const REASONS: [(&str, &str); 23] = [
    (
        "cps",
        "replyd bounds its queue, answers busy beyond it, and never closes the port",
    ),
    ("log_type", "replyd logs to stderr"),
    (
        "log_on_success",
        "replyd counts every outcome in its metrics",
    ),
    (
        "log_on_failure",
        "replyd counts every outcome in its metrics, and asks no ident daemon",
    ),
    ("max_load", "replyd bounds what it does at once instead"),
    ("banner", "replyd sends nothing before the reply"),
    ("banner_success", "replyd sends nothing before the reply"),
    ("banner_fail", "write what the file says as `denied.text`"),
    (
        "nice",
        "a command has replyd's own priority; systemd's Nice= sets it",
    ),
    (
        "umask",
        "a command has replyd's own umask; systemd's UMask= sets it",
    ),
    ("rlimit_as", "systemd's LimitAS= sets it"),
    ("rlimit_files", "systemd's LimitNOFILE= sets it"),
    (
        "rlimit_cpu",
        "a command has `timeout_seconds` instead, of the clock on the wall",
    ),
    ("rlimit_data", "systemd's LimitDATA= sets it"),
    ("rlimit_rss", "Linux knows no such limit"),
    ("rlimit_stack", "systemd's LimitSTACK= sets it"),
    ("deny_time", "replyd has no sensors"),
    ("mdns", "replyd registers nothing"),
    (
        "libwrap",
        "replyd doesn't read /etc/hosts.allow: use `allow` and `deny`",
    ),
    ("groups", "a command has the groups of its user"),
    (
        "passenv",
        "a command gets nothing of replyd's environment: name it in `environment`",
    ),
    ("env", "an internal service has no environment"),
    ("server_args", "there is no program that they could go to"),
];

/// Why one keeps its service from being carried over until someone has decided.
const HOLDS: [(&str, &str); 1] = [(
    "access_times",
    "replyd knows no hours, and would answer at any",
)];

/// Why one is not a service of replyd's.
const REFUSALS: [(&str, &str); 3] = [
    ("redirect", "replyd forwards nothing"),
    ("rpc_version", "replyd is no RPC server"),
    ("rpc_number", "replyd is no RPC server"),
];

/// What `defaults` has for the file and not for a service.
const OF_THE_FILE: [&str; 2] = ["disabled", "enabled"];

/// xinetd's `defaults`: every service's, unless it says otherwise.
#[derive(Debug, Default)]
pub(super) struct Defaults {
    block: Option<Block>,
}

impl Defaults {
    /// Takes a `defaults` block, the first of them; a note for the output.
    pub(super) fn insert(&mut self, block: Block) -> String {
        let said = block.attributes.iter().map(|attribute| &*attribute.said);
        let said: Vec<&str> = said
            .chain(block.strays.iter().map(String::as_str))
            .collect();
        let said = if said.is_empty() {
            "empty".to_owned()
        } else {
            said.join("; ")
        };
        if self.block.is_some() {
            return format!("{}: more defaults, not carried over: {said}", block.origin);
        }
        let note = format!("{}: defaults: {said}", block.origin);
        self.block = Some(block);
        note
    }

    /// The attributes of a service, with what it inherits. One that only adds to a list starts from
    /// the default, one with `=` leaves it.
    fn inherit(&self, own: &[Attribute]) -> Vec<Attribute> {
        let defaults = self.block.iter().flat_map(|block| &block.attributes);
        let inherited = defaults
            .filter(|default| !OF_THE_FILE.contains(&&*default.key))
            .filter(|default| {
                let mut same = own.iter().filter(|own| own.key == default.key);
                same.all(|own| own.operator != Operator::Set)
            })
            .map(|default| Attribute {
                // In `defaults`, `=` means `+=`.
                operator: match default.operator {
                    Operator::Remove => Operator::Remove,
                    Operator::Set | Operator::Add => Operator::Add,
                },
                said: format!("{} (defaults)", default.said),
                ..default.clone()
            });
        inherited.chain(own.iter().cloned()).collect()
    }

    /// What disables a service by its id, if anything.
    fn disables(&self, id: &str) -> Option<String> {
        let attributes = self.block.as_ref()?.attributes.iter();
        let list = |key: &str| -> Vec<&Attribute> {
            attributes
                .clone()
                .filter(|attribute| attribute.key == key)
                .collect()
        };
        let names = |attribute: &&&Attribute| attribute.words().any(|word| word == id);
        if let Some(attribute) = list("disabled").iter().find(names) {
            return Some(format!("{} (defaults)", attribute.said));
        }
        let enabled = list("enabled");
        let first = enabled.first()?;
        let is_enabled = enabled.iter().any(|attribute| names(&attribute));
        (!is_enabled).then(|| format!("{} (defaults), and not this one", first.said))
    }
}

/// Carries a service over.
pub(super) fn draft(block: &Block, defaults: &Defaults, ports: &Ports) -> Draft {
    let inherited = defaults.inherit(&block.attributes);
    let said = block
        .attributes
        .iter()
        .map(|attribute| attribute.said.clone());
    let said = said.chain(block.strays.iter().cloned()).collect();
    let mut attributes = Attributes::new(inherited);
    let origin = format!("{}, service {}", block.origin, block.name);
    let from = format!("service {}", block.name);
    let mut draft = Draft::new(&block.name, &from, origin, said);
    for stray in &block.strays {
        draft.hold(stray, "xinetd itself would not take this line");
    }
    let internal = kind(&mut draft, &mut attributes);
    identity(&mut draft, &mut attributes, defaults);
    let flags = Flags::take(&mut draft, &mut attributes);
    let port = listen::carry(&mut draft, &mut attributes, block, &flags, ports);
    limits(&mut draft, &mut attributes);
    for (key, why) in REFUSALS {
        for attribute in attributes.take(key) {
            draft.refuse(&attribute.said, why);
        }
    }
    match internal {
        Some(said) => {
            internal::carry(&mut draft, &block.name, &said, Of::Xinetd);
            attributes.moot(&["user", "group", "groups"], &mut draft);
        }
        None => command::carry(&mut draft, &mut attributes, &flags, port),
    }
    attributes.hold(&HOLDS, &mut draft);
    attributes.tell(
        &REASONS,
        "no attribute of xinetd's that is known here",
        &mut draft,
    );
    draft
}

/// What kind of service it is; what makes it an internal one, if it is.
fn kind(draft: &mut Draft, attributes: &mut Attributes) -> Option<String> {
    let mut internal = None;
    for attribute in attributes.take("type") {
        let has = |kind| {
            attribute
                .words()
                .any(|word| word.eq_ignore_ascii_case(kind))
        };
        if has("RPC") {
            draft.refuse(&attribute.said, "replyd is no RPC server");
        } else if has("TCPMUX") || has("TCPMUXPLUS") {
            draft.refuse(&attribute.said, "replyd is no TCPMUX server");
        } else if has("INTERNAL") {
            if let Some(before) = internal.replace(attribute.said) {
                draft.moot(&before);
            }
        } else {
            draft.moot(&attribute.said);
        }
    }
    internal
}

/// Its name, whether it is disabled, and whether it is a stream of single exchanges at all.
fn identity(draft: &mut Draft, attributes: &mut Attributes, defaults: &Defaults) {
    if let Some(id) = attributes.take_last("id", draft) {
        draft.name = id.value;
        draft.named = id.said;
    }
    draft.disabled = defaults.disables(&draft.name);
    if let Some(disable) = attributes.take_last("disable", draft) {
        if disable.is_yes() {
            draft.disable(disable.said);
        } else {
            draft.moot(&disable.said);
        }
    }
    let only = [
        ("socket_type", "stream", "replyd serves streams only"),
        ("protocol", "tcp", "replyd serves TCP only"),
        ("wait", "no", "the program accepts connections itself"),
    ];
    for (key, only, why) in only {
        if let Some(attribute) = attributes.take_last(key, draft) {
            // xinetd takes tcp6 for tcp on IPv6.
            if attribute.value.eq_ignore_ascii_case(only) || attribute.value == "tcp6" {
                draft.moot(&attribute.said);
            } else {
                draft.refuse(&attribute.said, why);
            }
        }
    }
}

fn limits(draft: &mut Draft, attributes: &mut Attributes) {
    if let Some(instances) = attributes.take_last("instances", draft) {
        match instances.value.parse::<u32>() {
            Ok(0) => draft.hold(&instances.said, draft::NOBODY_AT_ONCE),
            Ok(number) => draft.set("max_connections", i64::from(number), &instances.said),
            Err(_) if instances.value.eq_ignore_ascii_case("UNLIMITED") => {
                draft.moot(&instances.said);
            }
            Err(_) => draft.remark(&instances.said, "no number"),
        }
    }
    let only_from = attributes.take("only_from");
    let no_access = attributes.take("no_access");
    access::carry(draft, &only_from, &no_access);
    if let Some(most) = attributes.take_last("per_source", draft) {
        match most.value.parse::<u32>() {
            Ok(0) => draft.hold(&most.said, draft::NOBODY_AT_ONCE),
            Ok(number) => {
                draft.set("max_connections_per_source", i64::from(number), &most.said);
            }
            Err(_) if most.value.eq_ignore_ascii_case("UNLIMITED") => draft.moot(&most.said),
            Err(_) => draft.remark(&most.said, "no number"),
        }
    }
}
