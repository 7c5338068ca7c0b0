//! What is worth a warning: legal, and yet it may fail here, or is not what was meant.

/// What this machine may not allow.
pub(super) mod machine;
/// What is surely not what was meant, on whatever machine.
pub(super) mod meant;
