//! The outermost object of `config.json`.

use std::collections::BTreeMap;

use oci_spec::runtime as oci;
use serde::Deserialize;
use serde::de::IgnoredAny;

/// The properties of `config.json`, as parsed. oci-spec's own type for them would compile in its
/// types for other platforms, but this runtime only checks whether such a section is present.
#[derive(Deserialize)]
#[allow(missing_docs, reason = "the fields are named as the properties")]
pub struct Document {
    #[serde(default, rename = "ociVersion")]
    pub version: String,
    pub root: Option<oci::Root>,
    pub mounts: Option<Vec<oci::Mount>>,
    pub process: Option<Box<oci::Process>>,
    pub hostname: Option<String>,
    pub domainname: Option<String>,
    pub hooks: Option<Box<oci::Hooks>>,
    pub annotations: Option<BTreeMap<String, String>>,
    pub linux: Option<Box<oci::Linux>>,
    pub vm: Option<IgnoredAny>,
    pub windows: Option<IgnoredAny>,
    pub solaris: Option<IgnoredAny>,
    pub zos: Option<IgnoredAny>,
    pub freebsd: Option<IgnoredAny>,
}
