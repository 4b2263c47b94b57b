//! All annotations that change what the runtime does, so that `features` can list them.
//!
//! Engines use that list to decide which annotations to accept from a user who may not write
//! configs.
//! Source: runtime-spec 1.3, features.md, "Unsafe annotations in config.json".

/// `org.systemd.property.NAME`: a property of the container's unit.
pub const UNIT_PROPERTY: &str = "org.systemd.property.";
/// The name of the cgroup inside that of the unit; empty for none.
pub const SUBGROUP: &str = "run.oci.systemd.subgroup";
/// The engine that wrote the config.
pub const MANAGER: &str = "io.container.manager";

/// All of them, sorted. One that ends with a dot stands for all annotations that begin with it.
pub const HONOURED: [&str; 3] = [MANAGER, UNIT_PROPERTY, SUBGROUP];
