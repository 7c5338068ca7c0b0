//! What a service that runs a program is carried over as.

use std::collections::BTreeMap;

use crate::import::attribute::{Attribute, Attributes, Operator};
use crate::import::draft::Draft;
use crate::import::program;
use crate::import::xinetd::listen::Flags;

/// Carries over which program runs, as whom, and with what around it.
pub(super) fn carry(
    draft: &mut Draft,
    attributes: &mut Attributes,
    flags: &Flags,
    port: Option<u16>,
) {
    let Some(server) = attributes.take_last("server", draft) else {
        return draft.refuse("no server", "there is nothing to run");
    };
    let mut from = server.said.clone();
    let mut arguments = Vec::new();
    if !flags.has("NAMEINARGS") {
        arguments.push(server.value.as_str());
    }
    let server_args = attributes.take_last("server_args", draft);
    if let Some(server_args) = &server_args {
        arguments.extend(server_args.words());
        from = format!("{from}, {}", server_args.said);
    }
    program::carry(draft, &server.value, &arguments, port, &from);
    for key in ["user", "group"] {
        if let Some(account) = attributes.take_last(key, draft) {
            draft.set_command(key, account.value.as_str(), &account.said);
        }
    }
    environment(draft, &attributes.take("env"));
    for groups in attributes.take("groups") {
        if groups.is_yes() {
            draft.moot(&groups.said);
        } else {
            draft.remark(&groups.said, "a command has the groups of its user");
        }
    }
    if !draft.has_command("user") {
        draft.hold("no user", "xinetd itself would not take this service");
    }
    program::complete(draft);
}

fn environment(draft: &mut Draft, attributes: &[Attribute]) {
    if attributes.is_empty() {
        return;
    }
    let mut table = BTreeMap::new();
    for attribute in attributes {
        if attribute.operator == Operator::Set {
            table.clear();
        }
        for word in attribute.words() {
            match word.split_once('=') {
                Some((name, value)) => _ = table.insert(name.to_owned(), value.to_owned()),
                None => draft.remark(&format!("{word} in {}", attribute.said), "it has no value"),
            }
        }
    }
    let said: Vec<&str> = attributes
        .iter()
        .map(|attribute| &*attribute.said)
        .collect();
    program::set_environment(draft, table, &said.join(", "));
}
