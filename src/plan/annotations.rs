//! The annotations that change what is done: all of them, so that `features` can list them.
//!
//! Engines decide by that list which annotations a user who may not write configs may choose.
//! Source: runtime-spec 1.3, features.md, "Unsafe annotations in config.json".

/// `org.systemd.property.NAME`: a property of the container's unit.
pub const UNIT_PROPERTY: &str = "org.systemd.property.";
/// The name of the cgroup in the unit's own; empty for none.
pub const SUBGROUP: &str = "run.oci.systemd.subgroup";
/// Which engine has written the config.
pub const MANAGER: &str = "io.container.manager";

/// Every one of them, sorted; one that ends with a dot stands for all that begin so.
pub const HONOURED: [&str; 3] = [MANAGER, UNIT_PROPERTY, SUBGROUP];
