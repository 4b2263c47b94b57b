//! Plans a bundle without root, for a host that need not be this one, and prints the steps.
//!
//! `cargo run --example plan -- BUNDLE`

use std::error::Error;
use std::path::PathBuf;

use sampan::config::seccomp::Arch;
use sampan::host::{CgroupHost, Host};
use sampan::plan::{self, Options};
use sampan::spec;

fn main() -> Result<(), Box<dyn Error>> {
    let bundle = std::env::args_os().nth(1).ok_or("usage: plan BUNDLE")?;
    let bundle = std::fs::canonicalize(bundle)?;
    let json = std::fs::read(bundle.join(spec::CONFIG_FILE))?;
    let config = spec::config(&json, &bundle)?;
    // `Host::probe` describes the host that this program runs on.
    let host = Host {
        kernel: (6, 12),
        euid: 0,
        egid: 0,
        in_user_namespace: false,
        last_capability: 40,
        capabilities: u64::MAX,
        cgroup: Some(CgroupHost {
            mount: PathBuf::from("/sys/fs/cgroup"),
            controllers: ["cpuset", "cpu", "io", "memory", "hugetlb", "pids"]
                .map(str::to_owned)
                .to_vec(),
            own: "/".to_owned(),
        }),
        apparmor: false,
        selinux: false,
        arch: Arch::X86_64,
    };
    let options = Options {
        id: "example".to_owned(),
        ..Options::default()
    };
    let form = plan::build(&config, &host, &options)?.json();
    for step in form["steps"].as_array().into_iter().flatten() {
        let text = |member: &str| step[member].as_str().unwrap_or_default().to_owned();
        println!("{:8} {:20} {}", text("phase"), text("step"), text("config"));
    }
    Ok(())
}
